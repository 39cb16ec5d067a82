//! Which nodes become one: element-wise neighbours over one shape, in units that never close a circle.

use std::collections::{BTreeSet, HashMap, HashSet};

use onnx_protobuf::NodeProto;

use super::{
    nodes::{self, is_sum},
    program::{Broadcast, Operation},
};
use crate::{
    DType, Graph,
    shapes::{self, Facts, Length},
    weight,
};

/// Nodes that are computed again for one value, at most.
const MOST_AGAIN: usize = 32;

/// The nodes, each in a unit; units of several nodes are to be fused.
pub(super) struct Groups<'a> {
    pub(super) graph: &'a Graph,
    pub(super) nodes: &'a [NodeProto],
    pub(super) facts: Facts,
    producer: HashMap<&'a str, usize>,
    unit: Vec<usize>,
    pub(super) members: Vec<Vec<usize>>,
    /// The shape that a unit runs over; none for one that takes no further nodes.
    pub(super) over: Vec<Option<Vec<Length>>>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        let nodes = graph.graph.node.as_slice();
        let outputs =
            |(at, node): (usize, &'a NodeProto)| node.output.iter().map(move |name| (name.as_str(), at));
        Self {
            graph,
            nodes,
            facts: shapes::infer(graph),
            producer: nodes.iter().enumerate().flat_map(outputs).collect(),
            unit: (0..nodes.len()).collect(),
            members: (0..nodes.len()).map(|node| vec![node]).collect(),
            over: vec![None; nodes.len()],
        }
    }

    /// Lets a node join the group of one of its producers, or start one.
    pub(super) fn place(&mut self, node: usize) {
        let Some(over) = self.runs_over(node) else { return };
        let reduces = self.is_sum(node);
        for producer in self.producers(node) {
            let group = self.unit[producer];
            let own = self.unit[node];
            let fits = self.over[group].as_ref() == Some(&over) && !self.is_sum(producer);
            if group != own && fits && self.can_merge(group, own) {
                self.merge(group, own);
            }
        }
        // A sum on its own is the runtime's.
        if !reduces {
            let own = self.unit[node];
            self.over[own] = Some(over);
        }
    }

    /// The shape over which a node could be fused.
    fn runs_over(&self, at: usize) -> Option<Vec<Length>> {
        let node = &self.nodes[at];
        if self.is_sum(at) {
            let over = self.facts.of(&node.input[0]).dims?;
            nodes::reach(&self.facts, node, &over)?;
            return self.is_float(&node.input[0]).then_some(over);
        }
        let operation = nodes::operation(node)?;
        if operation == Operation::Copy && self.is_truth(&node.output[0]) && self.is_float(&node.input[0]) {
            return None;
        }
        let over = self.facts.of(node.output.first()?).dims?;
        if over.iter().all(|length| *length == Length::Fixed(1)) {
            return None;
        }
        let typed = |name: &String| self.is_float(name) || self.is_truth(name);
        let operands = nodes::operands(node);
        let fits = |name: &String| typed(name) && self.broadcast(name, &over).is_some();
        (typed(&node.output[0]) && operands.iter().all(fits)).then_some(over)
    }

    fn is_sum(&self, at: usize) -> bool {
        is_sum(&self.nodes[at])
    }

    fn is_float(&self, name: &str) -> bool {
        self.facts.of(name).dtype == Some(DType::F32)
    }

    pub(super) fn is_truth(&self, name: &str) -> bool {
        self.facts.of(name).dtype == Some(DType::Bool)
    }

    pub(super) fn broadcast(&self, name: &str, over: &[Length]) -> Option<Broadcast> {
        nodes::broadcast(&self.facts.of(name).dims?, over)
    }

    /// The nodes whose outputs a node takes, in its own order.
    fn producers(&self, node: usize) -> Vec<usize> {
        self.nodes[node].input.iter().filter_map(|name| self.producer.get(name.as_str()).copied()).collect()
    }

    /// The units that a unit takes from.
    fn sources(&self, unit: usize) -> BTreeSet<usize> {
        let producers = self.members[unit].iter().flat_map(|node| self.producers(*node));
        producers.map(|node| self.unit[node]).filter(|source| *source != unit).collect()
    }

    /// Whether two units may be one: no way leads from one to the other through a third, and none needs the
    /// other's sums.
    fn can_merge(&self, a: usize, b: usize) -> bool {
        let needs_sum = |from: usize, of: usize| {
            let producers = self.members[from].iter().flat_map(|node| self.producers(*node));
            producers.into_iter().any(|node| self.unit[node] == of && self.is_sum(node))
        };
        !needs_sum(a, b) && !needs_sum(b, a) && !self.leads(a, b) && !self.leads(b, a)
    }

    /// Whether a way leads from one unit to another through a third.
    fn leads(&self, from: usize, to: usize) -> bool {
        let mut open: Vec<usize> = self.sources(to).into_iter().filter(|unit| *unit != from).collect();
        let mut seen: HashSet<usize> = open.iter().copied().collect();
        while let Some(unit) = open.pop() {
            if unit == from {
                return true;
            }
            open.extend(self.sources(unit).into_iter().filter(|source| seen.insert(*source)));
        }
        false
    }

    fn merge(&mut self, into: usize, from: usize) {
        let moved = std::mem::take(&mut self.members[from]);
        for node in &moved {
            self.unit[*node] = into;
        }
        self.members[into].extend(moved);
        self.members[into].sort_unstable();
        let over = self.over[from].take();
        self.over[into] = self.over[into].take().or(over);
    }

    /// The units in an order that can be run.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut waiting: Vec<(usize, BTreeSet<usize>)> = (0..self.members.len())
            .filter(|unit| !self.members[*unit].is_empty())
            .map(|unit| (unit, self.sources(unit)))
            .collect();
        let mut done = BTreeSet::new();
        let mut order = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            // There always is one that is ready: merging never closes a circle.
            let ready = waiting.iter().position(|(_, sources)| sources.is_subset(&done));
            let (unit, _) = waiting.remove(ready.unwrap_or(0));
            done.insert(unit);
            order.push(unit);
        }
        order
    }

    /// The nodes of a unit, with those of earlier units that are cheaper computed again than written and
    /// read: the ones whose operands the unit reads anyway, or that take one other operand in the place of
    /// their result.
    pub(super) fn recomputed(&self, unit: usize, over: &[Length]) -> Vec<usize> {
        let mut nodes: BTreeSet<usize> = self.members[unit].iter().copied().collect();
        loop {
            let taken = self.taken(&nodes);
            let full = taken.iter().filter(|name| self.broadcast(name, over) == Some(Broadcast::Full));
            let more = full.copied().find_map(|name| self.cone(name, &nodes, &taken, over));
            match more {
                Some(cone) => nodes.extend(cone),
                None => return nodes.into_iter().collect(),
            }
        }
    }

    /// What nodes take from outside themselves, constants aside.
    fn taken(&self, nodes: &BTreeSet<usize>) -> BTreeSet<&'a str> {
        let operands = nodes.iter().flat_map(|node| nodes::operands(&self.nodes[*node]));
        let outside = |name: &&str| !self.producer.get(name).is_some_and(|node| nodes.contains(node));
        operands.map(String::as_str).filter(outside).filter(|name| self.constant(name).is_none()).collect()
    }

    /// The nodes that compute a value from what is taken already, or from one more full operand when nobody
    /// else needs it.
    fn cone(
        &self,
        value: &str,
        nodes: &BTreeSet<usize>,
        taken: &BTreeSet<&str>,
        over: &[Length],
    ) -> Option<BTreeSet<usize>> {
        let again = |name: &str| {
            let node = *self.producer.get(name)?;
            let unit = self.unit[node];
            let fits = self.over[unit].as_deref() == Some(over) && self.members[unit].len() > 1;
            (fits && !self.is_sum(node) && nodes::is_cheap(&self.nodes[node])).then_some(node)
        };
        let (mut cone, mut leaves) = (BTreeSet::from([again(value)?]), BTreeSet::new());
        let mut open: Vec<usize> = cone.iter().copied().collect();
        while let Some(node) = open.pop() {
            for name in nodes::operands(&self.nodes[node]).iter().map(String::as_str) {
                let known = taken.contains(name) && name != value || self.constant(name).is_some();
                if known || self.producer.get(name).is_some_and(|node| nodes.contains(node)) {
                    continue;
                }
                match again(name) {
                    Some(node) => open.extend(cone.insert(node).then_some(node)),
                    None => drop(leaves.insert(name)),
                }
            }
        }
        let full = leaves.iter().filter(|name| self.broadcast(name, over) == Some(Broadcast::Full)).count();
        let known = leaves.iter().all(|name| self.broadcast(name, over).is_some());
        let worth = full == 0 || (full == 1 && self.only_passes(value, over));
        (known && worth && cone.len() <= MOST_AGAIN).then_some(cone)
    }

    /// Whether only units over the same shape take a value, so that it need not be written when all compute
    /// it again.
    fn only_passes(&self, value: &str, over: &[Length]) -> bool {
        let port = self.graph.graph.output.iter().any(|port| port.name == value);
        let mut takers =
            self.nodes.iter().enumerate().filter(|(_, node)| node.input.iter().any(|name| name == value));
        let passes = |(node, _): (usize, &NodeProto)| {
            let unit = self.unit[node];
            self.over[unit].as_deref() == Some(over) && self.members[unit].len() > 1
        };
        !port && takers.all(passes)
    }

    /// The value of a scalar weight.
    pub(super) fn constant(&self, name: &str) -> Option<f32> {
        let proto = self.graph.weights.get(name)?;
        if proto.dims.iter().any(|length| *length != 1) {
            return None;
        }
        weight::from_proto(proto).ok()?.as_f32()?.first().copied()
    }
}
