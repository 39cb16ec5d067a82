//! How nodes take part in a fused pass: their instruction, their operands, and how those cover the shape.

use onnx_protobuf::NodeProto;

use super::program::{Broadcast, Operation, Reach};
use crate::{
    operators::{self, Fusion},
    shapes::{Facts, Length},
};

/// The instruction of an element-wise node.
pub(super) fn operation(node: &NodeProto) -> Option<Operation> {
    match operators::of(node).filter(|_| node.output.len() == 1)?.fusion? {
        Fusion::Map(operation) | Fusion::MapFirst(operation) => Some(operation),
        Fusion::Sum => None,
    }
}

/// Whether a node is a sum over axes.
pub(super) fn is_sum(node: &NodeProto) -> bool {
    matches!(operators::of(node).and_then(|operator| operator.fusion), Some(Fusion::Sum))
}

/// Whether a node is computed in less time than its result is written and read: no division, no elementary
/// function.
pub(super) fn is_cheap(node: &NodeProto) -> bool {
    use Operation::{Div, Erf, Exp, Log, Reciprocal, Sigmoid, Sqrt, Tanh};
    !matches!(operation(node), None | Some(Div | Erf | Exp | Log | Reciprocal | Sigmoid | Sqrt | Tanh))
}

/// The inputs of a node that are its operands; the rest are axes and shapes.
pub(super) fn operands(node: &NodeProto) -> &[String] {
    match operators::of(node).and_then(|operator| operator.fusion) {
        Some(Fusion::MapFirst(_) | Fusion::Sum) => &node.input[..1],
        _ => &node.input,
    }
}

/// How a value covers a shape; `None` when it does so in another way.
pub(super) fn broadcast(dims: &[Length], over: &[Length]) -> Option<Broadcast> {
    let one = Length::Fixed(1);
    let (rank, last) = (over.len(), over.len().checked_sub(1)?);
    if dims == over {
        return Some(Broadcast::Full);
    }
    if dims.iter().all(|length| *length == one) {
        return Some(Broadcast::Scalar);
    }
    if dims.len() == rank && dims[last] == one && dims[..last] == over[..last] {
        return Some(Broadcast::Column);
    }
    let lead = dims.iter().take_while(|length| **length == one).count();
    let tail = &dims[lead..];
    (over.ends_with(tail)).then_some(Broadcast::Tail)
}

/// What a sum over this shape gathers; `None` for other axes than the last, or all others.
pub(super) fn reach(facts: &Facts, node: &NodeProto, over: &[Length]) -> Option<Reach> {
    let rank = over.len();
    let axes = facts.reduced_axes(node, rank)?;
    if rank >= 2 && axes == [rank - 1] {
        return Some(Reach::Row);
    }
    let mut sorted = axes;
    sorted.sort_unstable();
    (rank >= 2 && sorted == (0..rank - 1).collect::<Vec<_>>()).then_some(Reach::Column)
}
