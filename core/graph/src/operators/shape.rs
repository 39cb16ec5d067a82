//! Shape rules that operators of several families share.

use onnx_protobuf::NodeProto;

use crate::shapes::{Facts, Length};

/// The axes of the first input.
pub(super) fn same(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    facts.input_dims(node, 0)
}

/// The axes of all inputs, broadcast to each other.
pub(super) fn broadcast(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    (0..node.input.len()).try_fold(Vec::new(), |all, input| {
        let dims = facts.input_dims(node, input)?;
        Some(broadcast_dims(facts, &all, &dims))
    })
}

/// A scalar.
pub(super) fn scalar(_: &mut Facts, _: &NodeProto, _: usize) -> Option<Vec<Length>> {
    Some(Vec::new())
}

/// The axes of two operands, broadcast to each other.
pub(super) fn broadcast_dims(facts: &mut Facts, a: &[Length], b: &[Length]) -> Vec<Length> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Length], place: usize| {
        (place + dims.len()).checked_sub(rank).map_or(Length::Fixed(1), |place| dims[place])
    };
    let one = |place| match (at(a, place), at(b, place)) {
        (x, y) if x == y => x,
        (Length::Fixed(1), other) | (other, Length::Fixed(1)) => other,
        (Length::Fixed(length), _) | (_, Length::Fixed(length)) => Length::Fixed(length),
        (Length::Symbol(_), Length::Symbol(_)) => facts.fresh(),
    };
    (0..rank).map(one).collect()
}

/// The axes without some of them.
pub(super) fn without(dims: &[Length], axes: &[usize]) -> Vec<Length> {
    dims.iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, length)| *length).collect()
}
