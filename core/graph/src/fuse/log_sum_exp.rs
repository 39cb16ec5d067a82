//! Logarithms of sums of exponentials over the rows or columns of a matrix as one operator.

use onnx_protobuf::NodeProto;

use super::program::DOMAIN;
use crate::{Attr, DType, shapes::Facts, walk::attribute};

/// The operator type of `ln(sum(e^x))` over one axis of a matrix, the attribute `axis`.
pub const LOG_SUM_EXP: &str = "LogSumExp";

/// Replaces `ReduceLogSumExp` over one axis of a 32-bit float matrix by `chiasm.LogSumExp`.
pub(super) fn replace(nodes: &mut [NodeProto], facts: &Facts) {
    for node in nodes {
        let Some(axis) = reduced_axis(node, facts) else { continue };
        let keep = attribute(node, "keepdims").is_none_or(|keep| keep.i != 0);
        let flag = |name, value| Attr::Int(value).to_proto(name);
        node.attribute = vec![flag("axis", axis), flag("keepdims", i64::from(keep))];
        node.input.truncate(1);
        node.op_type = LOG_SUM_EXP.to_owned();
        node.domain = DOMAIN.to_owned();
    }
}

/// The axis that a node reduces; `None` for any other node.
fn reduced_axis(node: &NodeProto, facts: &Facts) -> Option<i64> {
    let reduces = node.domain.is_empty() && node.op_type == "ReduceLogSumExp";
    let fact = facts.of(node.input.first().filter(|_| reduces)?);
    let matrix = fact.dtype == Some(DType::F32) && fact.dims.is_some_and(|dims| dims.len() == 2);
    match facts.reduced_axes(node, 2).filter(|_| matrix)?[..] {
        [axis] => i64::try_from(axis).ok(),
        _ => None,
    }
}
