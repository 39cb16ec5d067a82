//! Grouping: which element-wise nodes over one shape are fused, without creating a cycle between groups.

use std::collections::{BTreeSet, HashMap, HashSet};

use onnx_protobuf::NodeProto;

use super::{
    nodes::{self, is_sum},
    program::{Broadcast, Operation},
};
use crate::{
    DType, Graph,
    shapes::{self, Facts, Length},
    walk, weight,
};

/// How many nodes are computed again for one value, at most.
const MAX_RECOMPUTED: usize = 32;

/// The nodes of a graph in groups; each group of several nodes is fused.
pub(super) struct FusionGroups<'a> {
    pub(super) graph: &'a Graph,
    pub(super) nodes: &'a [NodeProto],
    pub(super) facts: Facts,
    /// The values that each node uses, itself and in its subgraphs.
    uses: Vec<Vec<&'a str>>,
    producer: HashMap<&'a str, usize>,
    group_of: Vec<usize>,
    pub(super) members: Vec<Vec<usize>>,
    /// The shape that a group runs over; `None` for a group that accepts no further nodes.
    pub(super) over: Vec<Option<Vec<Length>>>,
}

impl<'a> FusionGroups<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        let nodes = graph.graph.node.as_slice();
        let outputs =
            |(at, node): (usize, &'a NodeProto)| node.output.iter().map(move |name| (name.as_str(), at));
        let uses = |node: &'a NodeProto| {
            let mut names = Vec::with_capacity(node.input.len());
            walk::uses(node, &mut |name| names.push(name));
            names
        };
        Self {
            graph,
            nodes,
            facts: shapes::infer(graph),
            uses: nodes.iter().map(uses).collect(),
            producer: nodes.iter().enumerate().flat_map(outputs).collect(),
            group_of: (0..nodes.len()).collect(),
            members: (0..nodes.len()).map(|node| vec![node]).collect(),
            over: vec![None; nodes.len()],
        }
    }

    /// Adds a node to the groups of its producers where possible, or starts a group with it.
    pub(super) fn assign(&mut self, node: usize) {
        let Some(over) = self.runs_over(node) else { return };
        let reduces = self.is_sum(node);
        for producer in self.producers(node) {
            let target = self.group_of[producer];
            let own = self.group_of[node];
            let fits = self.over[target].as_ref() == Some(&over) && !self.is_sum(producer);
            if target != own && fits && self.can_merge(target, own) {
                self.merge(target, own);
            }
        }
        // A sum alone is left to the engine.
        if !reduces {
            let own = self.group_of[node];
            self.over[own] = Some(over);
        }
    }

    /// The shape over which a node can be fused; `None` if it cannot.
    fn runs_over(&self, at: usize) -> Option<Vec<Length>> {
        let node = &self.nodes[at];
        if self.is_sum(at) {
            let over = self.facts.of(&node.input[0]).dims?;
            nodes::summation(&self.facts, node, &over)?;
            return self.is_float(&node.input[0]).then_some(over);
        }
        let operation = nodes::operation(node)?;
        // No instruction converts a float to a boolean.
        if operation == Operation::Copy && self.is_bool(&node.output[0]) && self.is_float(&node.input[0]) {
            return None;
        }
        let over = self.facts.of(node.output.first()?).dims?;
        if over.iter().all(|length| *length == Length::Fixed(1)) {
            return None;
        }
        let typed = |name: &String| self.is_float(name) || self.is_bool(name);
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

    pub(super) fn is_bool(&self, name: &str) -> bool {
        self.facts.of(name).dtype == Some(DType::Bool)
    }

    pub(super) fn broadcast(&self, name: &str, over: &[Length]) -> Option<Broadcast> {
        nodes::broadcast(&self.facts.of(name).dims?, over)
    }

    /// The values that a node uses, its inputs first and in their order.
    pub(super) fn uses(&self, node: usize) -> &[&'a str] {
        &self.uses[node]
    }

    /// The node that produces a value.
    pub(super) fn made_by(&self, value: &str) -> Option<&'a NodeProto> {
        self.producer.get(value).map(|node| &self.nodes[*node])
    }

    /// The nodes that produce what a node uses.
    fn producers(&self, node: usize) -> Vec<usize> {
        self.uses[node].iter().filter_map(|name| self.producer.get(name).copied()).collect()
    }

    /// The groups that produce the inputs of a group.
    fn sources(&self, group: usize) -> BTreeSet<usize> {
        let producers = self.members[group].iter().flat_map(|node| self.producers(*node));
        producers.map(|node| self.group_of[node]).filter(|source| *source != group).collect()
    }

    /// Whether two groups can be merged: no path between them passes through a third group, and neither uses
    /// the other's sums.
    fn can_merge(&self, a: usize, b: usize) -> bool {
        let needs_sum = |from: usize, of: usize| {
            let producers = self.members[from].iter().flat_map(|node| self.producers(*node));
            producers.into_iter().any(|node| self.group_of[node] == of && self.is_sum(node))
        };
        !needs_sum(a, b) && !needs_sum(b, a) && !self.is_between(a, b) && !self.is_between(b, a)
    }

    /// Whether a path from one group to another passes through a third.
    fn is_between(&self, from: usize, to: usize) -> bool {
        let mut open: Vec<usize> = self.sources(to).into_iter().filter(|group| *group != from).collect();
        let mut seen: HashSet<usize> = open.iter().copied().collect();
        while let Some(group) = open.pop() {
            if group == from {
                return true;
            }
            open.extend(self.sources(group).into_iter().filter(|source| seen.insert(*source)));
        }
        false
    }

    fn merge(&mut self, into: usize, from: usize) {
        let moved = std::mem::take(&mut self.members[from]);
        for node in &moved {
            self.group_of[*node] = into;
        }
        self.members[into].extend(moved);
        self.members[into].sort_unstable();
        let over = self.over[from].take();
        self.over[into] = self.over[into].take().or(over);
    }

    /// The groups in topological order.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut waiting: Vec<(usize, BTreeSet<usize>)> = (0..self.members.len())
            .filter(|group| !self.members[*group].is_empty())
            .map(|group| (group, self.sources(group)))
            .collect();
        let mut done = BTreeSet::new();
        let mut order = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            // One group is always ready, because merging never creates a cycle.
            let ready = waiting.iter().position(|(_, sources)| sources.is_subset(&done));
            let (group, _) = waiting.remove(ready.unwrap_or(0));
            done.insert(group);
            order.push(group);
        }
        order
    }

    /// The nodes of a group, and nodes of earlier groups that it computes again because that is cheaper than
    /// writing and reading their results: those whose operands the group reads anyway, or that replace their
    /// result by one other operand.
    pub(super) fn recomputed(&self, group: usize, over: &[Length]) -> Vec<usize> {
        let mut nodes: BTreeSet<usize> = self.members[group].iter().copied().collect();
        loop {
            let inputs = self.inputs(&nodes);
            let full = inputs.iter().filter(|name| self.broadcast(name, over) == Some(Broadcast::Full));
            let more = full.copied().find_map(|name| self.cone(name, &nodes, &inputs, over));
            match more {
                Some(cone) => nodes.extend(cone),
                None => return nodes.into_iter().collect(),
            }
        }
    }

    /// The values that nodes use and do not produce themselves, without constants.
    fn inputs(&self, nodes: &BTreeSet<usize>) -> BTreeSet<&'a str> {
        let operands = nodes.iter().flat_map(|node| nodes::operands(&self.nodes[*node]));
        let outside = |name: &&str| !self.producer.get(name).is_some_and(|node| nodes.contains(node));
        operands.map(String::as_str).filter(outside).filter(|name| self.constant(name).is_none()).collect()
    }

    /// The nodes that compute a value from inputs that are read anyway, or from one more full operand if no
    /// other node needs the value.
    fn cone(
        &self,
        value: &str,
        nodes: &BTreeSet<usize>,
        inputs: &BTreeSet<&str>,
        over: &[Length],
    ) -> Option<BTreeSet<usize>> {
        let recomputable = |name: &str| {
            let node = *self.producer.get(name)?;
            let group = self.group_of[node];
            let fits = self.over[group].as_deref() == Some(over) && self.members[group].len() > 1;
            (fits && !self.is_sum(node) && nodes::is_cheap(&self.nodes[node])).then_some(node)
        };
        let (mut cone, mut leaves) = (BTreeSet::from([recomputable(value)?]), BTreeSet::new());
        let mut open: Vec<usize> = cone.iter().copied().collect();
        while let Some(node) = open.pop() {
            for name in nodes::operands(&self.nodes[node]).iter().map(String::as_str) {
                let known = inputs.contains(name) && name != value || self.constant(name).is_some();
                if known || self.producer.get(name).is_some_and(|node| nodes.contains(node)) {
                    continue;
                }
                match recomputable(name) {
                    Some(node) => open.extend(cone.insert(node).then_some(node)),
                    None => drop(leaves.insert(name)),
                }
            }
        }
        let full = leaves.iter().filter(|name| self.broadcast(name, over) == Some(Broadcast::Full)).count();
        let known = leaves.iter().all(|name| self.broadcast(name, over).is_some());
        let pays = full == 0 || (full == 1 && self.is_only_fused(value, over));
        (known && pays && cone.len() <= MAX_RECOMPUTED).then_some(cone)
    }

    /// Whether only fused groups over the same shape use a value. If all of them compute it again, it need
    /// not be written.
    fn is_only_fused(&self, value: &str, over: &[Length]) -> bool {
        let port = self.graph.graph.output.iter().any(|port| port.name == value);
        let mut users = (0..self.nodes.len()).filter(|node| self.uses[*node].contains(&value));
        let is_fused = |node: usize| {
            let group = self.group_of[node];
            self.over[group].as_deref() == Some(over) && self.members[group].len() > 1
        };
        !port && users.all(is_fused)
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
