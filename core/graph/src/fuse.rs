//! Element-wise neighbours as one node: what a training step spends above its matrix products is passes over
//! memory.
//!
//! Chains of element-wise operators over one shape, with the sums over their rows or columns, become one
//! `chiasm.Pointwise` node, whose kernel (`chiasm-runtime`, on the processor) computes them block by block in
//! the first-level cache. Such a graph is for running here, never for saving: a graph on a GPU or in another
//! runtime stays as it was. Nodes are grouped greedily in topological order; a group never closes a circle
//! through a node outside it. Left alone: shapes that the graph does not tell, other element types, operands
//! broadcast in the middle.

mod groups;
mod nodes;
mod product;
mod program;
mod writer;

use std::collections::HashSet;

use onnx_protobuf::{NodeProto, OperatorSetIdProto};

use crate::{Graph, walk};
use groups::Groups;

pub use product::PRODUCT;
pub use program::{Broadcast, DOMAIN, Instruction, OPERATOR, Operation, Output, Program, Reach};

impl Graph {
    /// The same function with element-wise neighbours fused into `chiasm.Pointwise` nodes (see [`Program`]),
    /// and products of matrices, with the transpositions before them, as `chiasm.Product` nodes.
    #[must_use]
    pub fn fused(&self) -> Self {
        if self.graph.node.iter().any(|node| walk::subgraphs(node).next().is_some()) {
            return self.clone();
        }
        let mut groups = Groups::new(self);
        for node in 0..groups.nodes.len() {
            groups.place(node);
        }
        let mut fused = self.clone();
        fused.graph.node = emit(&groups);
        product::replace(&mut fused.graph.node, &groups.facts);
        if fused.graph.node.iter().any(|node| node.domain == DOMAIN) && fused.import(DOMAIN).is_none() {
            let import = OperatorSetIdProto { domain: DOMAIN.to_owned(), version: 1, ..Default::default() };
            fused.header.opset_import.push(import);
        }
        fused.simplified()
    }
}

/// All units as nodes. From the last to the first, so that a unit is asked only for what later ones take of
/// it.
fn emit(groups: &Groups<'_>) -> Vec<NodeProto> {
    let mut needed: HashSet<&str> = groups.graph.graph.output.iter().map(|port| port.name.as_str()).collect();
    let mut parts = Vec::new();
    for unit in groups.order().into_iter().rev() {
        let members = &groups.members[unit];
        let fused = match &groups.over[unit] {
            Some(over) if members.len() > 1 => {
                let asked = |node: &usize| needed.contains(groups.nodes[*node].output[0].as_str());
                let asked: HashSet<usize> = members.iter().copied().filter(asked).collect();
                writer::fuse(groups, over, &groups.recomputed(unit, over), &asked)
            }
            _ => None,
        };
        parts.push(match fused {
            Some((nodes, taken)) => {
                needed.extend(taken);
                nodes
            }
            None => {
                let nodes = members.iter().map(|node| &groups.nodes[*node]);
                needed.extend(nodes.clone().flat_map(|node| &node.input).map(String::as_str));
                nodes.cloned().collect()
            }
        });
    }
    parts.into_iter().rev().flatten().collect()
}
