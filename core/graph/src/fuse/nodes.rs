//! The nodes that can be fused: their instruction, their operands, and how those are broadcast.

use onnx_protobuf::NodeProto;

use super::program::{Broadcast, Operation, Summation};
use crate::{
    operators::{self, PointwiseRole},
    shapes::{Facts, Length},
};

/// The instruction of an element-wise node.
pub(super) fn operation(node: &NodeProto) -> Option<Operation> {
    match operators::of(node).filter(|_| node.output.len() == 1)?.fusion? {
        PointwiseRole::Map(operation) | PointwiseRole::MapFirst(operation) => Some(operation),
        PointwiseRole::Sum => None,
    }
}

/// Whether a node is a sum over axes.
pub(super) fn is_sum(node: &NodeProto) -> bool {
    matches!(operators::of(node).and_then(|operator| operator.fusion), Some(PointwiseRole::Sum))
}

/// Whether computing a node again costs less than writing and reading its result: it has no division and no
/// elementary function.
pub(super) fn is_cheap(node: &NodeProto) -> bool {
    use Operation::{Div, Erf, Exp, Log, Reciprocal, Sigmoid, Sqrt, Tanh};
    !matches!(operation(node), None | Some(Div | Erf | Exp | Log | Reciprocal | Sigmoid | Sqrt | Tanh))
}

/// The inputs of a node that are its operands; the others are axes and shapes.
pub(super) fn operands(node: &NodeProto) -> &[String] {
    match operators::of(node).and_then(|operator| operator.fusion) {
        Some(PointwiseRole::MapFirst(_) | PointwiseRole::Sum) => &node.input[..1],
        _ => &node.input,
    }
}

/// How a value with these axes is broadcast to a shape; `None` for a way that fused nodes do not support.
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

/// What a sum over this shape sums; `None` unless it is the last axis or all other axes.
pub(super) fn summation(facts: &Facts, node: &NodeProto, over: &[Length]) -> Option<Summation> {
    let rank = over.len();
    let axes = facts.reduced_axes(node, rank)?;
    if rank >= 2 && axes == [rank - 1] {
        return Some(Summation::Row);
    }
    let mut sorted = axes;
    sorted.sort_unstable();
    (rank >= 2 && sorted == (0..rank - 1).collect::<Vec<_>>()).then_some(Summation::Column)
}
