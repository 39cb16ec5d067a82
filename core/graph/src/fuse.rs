//! Operator fusion: element-wise operators that follow each other become one node.
//!
//! Apart from its matrix products, a training step spends its time reading and writing memory. Element-wise
//! operators over one shape, with the sums over their rows or columns, are fused into one `chiasm.Pointwise`
//! node, whose CPU kernel (in `chiasm-runtime`) computes them block by block in the first-level cache. A
//! fused graph runs only on that engine: never save it.
//!
//! Nodes are grouped greedily in topological order; a group never creates a cycle through a node outside it.
//! Not fused: values of unknown shape, element types other than 32-bit float and boolean, and operands that
//! are broadcast along an inner axis.
//!
//! ```
//! use chiasm_graph::{Builder, DType, Dim, fuse};
//!
//! let mut b = Builder::new("swish");
//! let x = b.input("x", DType::F32, &[Dim::named("rows"), Dim::Fixed(8)])?;
//! let scaled = b.mul_scalar(&x, 2.0);
//! let sigmoid = b.op("Sigmoid", &[&scaled], &[]);
//! let y = b.mul(&x, &sigmoid);
//! b.output("y", &y, DType::F32, &[Dim::named("rows"), Dim::Fixed(8)]);
//!
//! let fused = b.finish()?.fused();
//! let operator = format!("{}.{}", fuse::DOMAIN, fuse::OPERATOR);
//! assert_eq!(fused.op_types()[&operator], 1);
//! assert_eq!(fused.node_count(), 1);
//! # Ok::<(), chiasm_graph::Error>(())
//! ```

mod groups;
mod log_sum_exp;
mod nodes;
mod product;
mod program;
mod scaling;
mod writer;

use std::collections::HashSet;

use onnx_protobuf::{NodeProto, OperatorSetIdProto};

use crate::Graph;
use groups::FusionGroups;

pub use log_sum_exp::LOG_SUM_EXP;
pub use product::PRODUCT;
pub use program::{Broadcast, DOMAIN, Instruction, OPERATOR, Operation, Program, ProgramOutput, Summation};
pub use scaling::SCALING;

impl Graph {
    /// Returns the same function with element-wise nodes fused into `chiasm.Pointwise` nodes (see
    /// [`Program`]), products of two matrices, with the transpositions before them, as `chiasm.Product`
    /// nodes, `ReduceLogSumExp` over an axis of a matrix as `chiasm.LogSumExp`, and loops that scale the rows
    /// and columns of a matrix as `chiasm.Scaling`. Nodes in other subgraphs stay as they are.
    #[must_use]
    pub fn fused(&self) -> Self {
        self.fused_nodes(true)
    }

    /// [`Graph::fused`], with products of matrices left as they are: for processors on which those of ONNX
    /// Runtime are faster.
    #[must_use]
    pub fn fused_without_products(&self) -> Self {
        self.fused_nodes(false)
    }

    fn fused_nodes(&self, products: bool) -> Self {
        let mut groups = FusionGroups::new(self);
        for node in 0..groups.nodes.len() {
            groups.assign(node);
        }
        let mut fused = self.clone();
        fused.graph.node = emit(&groups);
        if products {
            product::replace(&mut fused.graph.node, &groups.facts);
        }
        log_sum_exp::replace(&mut fused.graph.node, &groups.facts);
        scaling::replace(&mut fused.graph.node, &groups);
        if fused.graph.node.iter().any(|node| node.domain == DOMAIN) && fused.import(DOMAIN).is_none() {
            let import = OperatorSetIdProto { domain: DOMAIN.to_owned(), version: 1, ..Default::default() };
            fused.header.opset_import.push(import);
        }
        fused.simplified()
    }
}

/// The nodes of all groups. Groups are written from the last to the first, so that each one outputs only what
/// later groups use.
fn emit(groups: &FusionGroups<'_>) -> Vec<NodeProto> {
    let mut needed: HashSet<&str> = groups.graph.graph.output.iter().map(|port| port.name.as_str()).collect();
    let mut parts = Vec::new();
    for group in groups.order().into_iter().rev() {
        let members = &groups.members[group];
        let fused = match &groups.over[group] {
            Some(over) if members.len() > 1 => {
                let is_needed = |node: &usize| needed.contains(groups.nodes[*node].output[0].as_str());
                let outputs: HashSet<usize> = members.iter().copied().filter(is_needed).collect();
                writer::fuse(groups, over, &groups.recomputed(group, over), &outputs)
            }
            _ => None,
        };
        parts.push(match fused {
            Some((nodes, inputs)) => {
                needed.extend(inputs);
                nodes
            }
            None => {
                needed.extend(members.iter().flat_map(|node| groups.uses(*node)));
                members.iter().map(|node| groups.nodes[*node].clone()).collect()
            }
        });
    }
    parts.into_iter().rev().flatten().collect()
}
