//! Operators that move, copy or convert elements, without selecting or combining them.

use onnx_protobuf::NodeProto;

use super::{
    elements::{concatenated, same_elements, transposed},
    padding::{pad_forward, pad_reverse, pad_shape},
    row::{
        Change::{self, *},
        InputTypes, Operator,
        OutputType::*,
        PointwiseRole::{Map, MapFirst},
        int, op,
    },
    shape::{broadcast_dims, same, without},
};
use crate::calculus::{
    DerivativeRule::{Elementwise, Formulas},
    Factor, RuleResult, Sensitivities, Tape, TapeNode, shifted,
};
use crate::{
    Attr, DType, Result, Value,
    fuse::Operation,
    shapes::{Facts, Length, resolve_axes, resolve_axis},
    walk::attribute,
};

/// The axes became the second input.
const AXES: Change = AttributeToInput { attribute: "axes", input: 1 };

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("BitCast", &[26]).outputs(&[]),
    op("Cast", &[1, 6, 9, 13, 19, 21, 23, 24, 25, 28])
        .changes(&[(&[9, 13, 21, 23, 25], MoreTypes), (&[19], Compatible("saturate, for 8-bit floats")),
            (&[24], Compatible("round_mode, for 8-bit floats"))])
        .all_outputs(cast_type).shape(same).elements(same_elements)
        .derivative(Formulas { forward: cast_forward, reverse: cast_reverse }).fusion(Map(Operation::Copy))
        .learned(),
    op("CastLike", &[15, 19, 21, 23, 24, 25])
        .changes(&[(&[19], Compatible("saturate, for 8-bit floats")), (&[21, 23, 25], MoreTypes),
            (&[24], Compatible("round_mode, for 8-bit floats"))])
        .outputs(&[Like(1)]),
    op("CenterCropPad", &[18]),
    op("Concat", &[1, 4, 11, 13]).changes(&[(&[11], NegativeAxes), (&[13], MoreTypes)])
        .shape(concat_shape).elements(concatenated)
        .derivative(Formulas { forward: concat_forward, reverse: concat_reverse }).learned(),
    op("DepthToSpace", &[1, 11, 13, 28]).changes(&[(&[11], Compatible("mode = DCR")), (&[13], MoreTypes)]),
    op("Expand", &[8, 13]).changes(&[(&[13], MoreTypes)])
        .shape(expand_shape).derivative(Formulas { forward: expand_forward, reverse: expand_reverse })
        .fusion(MapFirst(Operation::Copy)).learned(),
    op("Flatten", &[1, 9, 11, 13, 21, 23, 24, 25])
        .changes(&[(&[9, 13, 21, 23, 24, 25], MoreTypes), (&[11], NegativeAxes)]).shape(flatten_shape)
        .derivative(Formulas { forward: reshape_forward, reverse: reshape_reverse }).learned(),
    op("Identity", &[1, 13, 14, 16, 19, 21, 23, 24, 25])
        .changes(&[(&[13, 14, 16, 19, 21, 23, 24, 25], MoreTypes)]).shape(same)
        .elements(same_elements).derivative(Elementwise(one)).fusion(Map(Operation::Copy)).learned(),
    op("Pad", &[1, 2, 11, 13, 18, 19, 21, 23, 24, 25])
        .changes(&[(&[11], Incompatible("its pads became an input")), (&[13, 21, 23, 24, 25], MoreTypes),
            (&[18], Compatible("axes = all")), (&[19], Compatible("a new mode"))])
        .shape(pad_shape).derivative(Formulas { forward: pad_forward, reverse: pad_reverse }).learned(),
    op("Reshape", &[1, 5, 13, 14, 19, 21, 23, 24, 25])
        .changes(&[(&[13, 19, 21, 23, 24, 25], MoreTypes), (&[14], Compatible("allowzero = 0"))])
        .shape(reshape_shape).elements(same_elements)
        .derivative(Formulas { forward: reshape_forward, reverse: reshape_reverse }).learned(),
    op("ReverseSequence", &[10, 28]),
    op("SpaceToDepth", &[1, 13, 28]).changes(&[(&[13], MoreTypes)]),
    op("Split", &[1, 2, 11, 13, 18])
        .changes(&[(&[11], NegativeAxes), (&[13], AttributeToInput { attribute: "split", input: 1 }),
            (&[18], CompatibleIf(has_sizes, "equal parts must be counted in an attribute"))])
        .all_outputs(first_type).shape(split_shape)
        .derivative(Formulas { forward: split_forward, reverse: split_reverse }).learned(),
    op("Squeeze", &[1, 11, 13, 21, 23, 24, 25])
        .changes(&[(&[11], NegativeAxes), (&[13], AXES), (&[21, 23, 24, 25], MoreTypes)]).shape(squeeze_shape)
        .elements(same_elements).derivative(Formulas { forward: reshape_forward, reverse: reshape_reverse })
        .learned(),
    op("Tile", &[1, 6, 13]).changes(&[(&[13], MoreTypes)]).learned(),
    op("Transpose", &[1, 13, 21, 23, 24, 25]).changes(&[(&[13, 21, 23, 24, 25], MoreTypes)])
        .shape(transpose_shape).elements(transposed)
        .derivative(Formulas { forward: transpose_forward, reverse: transpose_reverse }).learned(),
    op("Unsqueeze", &[1, 11, 13, 21, 23, 24, 25])
        .changes(&[(&[11], NegativeAxes), (&[13], AXES), (&[21, 23, 24, 25], MoreTypes)])
        .shape(unsqueeze_shape).elements(same_elements)
        .derivative(Formulas { forward: reshape_forward, reverse: reshape_reverse }).learned(),
];

fn cast_type(node: &NodeProto, _: InputTypes<'_>) -> Option<DType> {
    DType::from_onnx(i32::try_from(attribute(node, "to")?.i).ok()?)
}

fn first_type(_: &NodeProto, input_types: InputTypes<'_>) -> Option<DType> {
    input_types(0)
}

fn one(_: &mut Tape, _: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Factor::One)
}

fn has_sizes(node: &NodeProto) -> bool {
    node.input.get(1).is_some_and(|name| !name.is_empty())
}

fn transpose_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let dims = facts.input_dims(node, 0)?;
    match attribute(node, "perm") {
        Some(perm) => perm.ints.iter().map(|at| dims.get(usize::try_from(*at).ok()?).copied()).collect(),
        None => Some(dims.into_iter().rev().collect()),
    }
}

fn flatten_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let Some(dims) = facts.input_dims(node, 0) else { return Some(vec![facts.fresh(), facts.fresh()]) };
    // The axis may also be the number of axes.
    let axis = int(node, "axis", 1);
    let axis = usize::try_from(if axis < 0 { axis + dims.len() as i64 } else { axis }).ok()?;
    let (rows, columns) = dims.split_at_checked(axis)?;
    Some(vec![product(facts, rows), product(facts, columns)])
}

/// The product of lengths; one symbol among lengths of one is itself the product.
fn product(facts: &mut Facts, lengths: &[Length]) -> Length {
    let mut others = lengths.iter().filter(|length| **length != Length::Fixed(1));
    match (others.next(), others.next()) {
        (None, _) => Length::Fixed(1),
        (Some(one), None) => *one,
        _ => {
            let total = lengths.iter().try_fold(1_i64, |all, length| all.checked_mul(length.fixed()?));
            total.map_or_else(|| facts.fresh(), Length::Fixed)
        }
    }
}

fn squeeze_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let dims = facts.input_dims(node, 0)?;
    let axes = match node.input.get(1).is_some() || attribute(node, "axes").is_some() {
        true => resolve_axes(&facts.input_or_attribute(node, 1, "axes")?, dims.len())?,
        false => (0..dims.len()).filter(|at| dims[*at] == Length::Fixed(1)).collect(),
    };
    Some(without(&dims, &axes))
}

fn unsqueeze_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let dims = facts.input_dims(node, 0)?;
    let axes = facts.input_or_attribute(node, 1, "axes")?;
    let axes = resolve_axes(&axes, dims.len() + axes.len())?;
    let mut old = dims.iter();
    (0..dims.len() + axes.len())
        .map(|at| if axes.contains(&at) { Some(Length::Fixed(1)) } else { old.next().copied() })
        .collect()
}

fn expand_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let dims = facts.input_dims(node, 0)?;
    if let Some(shape) = facts.input_elements(node, 1) {
        return Some(broadcast_dims(facts, &dims, &shape));
    }
    let rank = facts.input_rank(node, 1)?;
    Some((0..dims.len().max(rank)).map(|_| facts.fresh()).collect())
}

fn concat_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let mut dims = facts.input_dims(node, 0)?;
    let axis = resolve_axis(attribute(node, "axis")?.i, dims.len())?;
    let length = |input| facts.input_dims(node, input)?.get(axis)?.fixed();
    let total = (0..node.input.len()).try_fold(0_i64, |sum, input| sum.checked_add(length(input)?));
    dims[axis] = total.map_or_else(|| facts.fresh(), Length::Fixed);
    Some(dims)
}

fn split_shape(facts: &mut Facts, node: &NodeProto, output: usize) -> Option<Vec<Length>> {
    let mut dims = facts.input_dims(node, 0)?;
    let axis = resolve_axis(int(node, "axis", 0), dims.len())?;
    let count = i64::try_from(node.output.len()).ok()?;
    dims[axis] = match (facts.input_or_attribute(node, 1, "split"), dims[axis].fixed()) {
        (Some(sizes), _) => Length::Fixed(*sizes.get(output)?),
        (None, Some(length)) if length % count == 0 => Length::Fixed(length / count),
        _ => facts.fresh(),
    };
    Some(dims)
}

fn reshape_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let old = facts.input_dims(node, 0);
    let Some(shape) = facts.input_elements(node, 1) else {
        let rank = facts.input_rank(node, 1)?;
        return Some((0..rank).map(|_| facts.fresh()).collect());
    };
    let copy = |at: usize| old.as_ref().and_then(|old| old.get(at).copied());
    let mut dims = Vec::with_capacity(shape.len());
    for (at, length) in shape.iter().enumerate() {
        dims.push(match length {
            Length::Fixed(0) => copy(at).unwrap_or_else(|| facts.fresh()),
            other => *other,
        });
    }
    if let Some(open) = dims.iter().position(|length| *length == Length::Fixed(-1)) {
        dims[open] = inferred_axis(facts, old.as_deref(), &dims, open);
    }
    Some(dims)
}

/// The length of the axis that a reshape gives as -1: the old lengths divided by the other new ones.
fn inferred_axis(facts: &mut Facts, old: Option<&[Length]>, dims: &[Length], open: usize) -> Length {
    let product =
        |dims: &[Length]| dims.iter().try_fold(1_i64, |all, length| all.checked_mul(length.fixed()?));
    let others = [&dims[..open], &dims[open + 1..]].concat();
    // Equal lengths cancel; if one length is left, it is the result, even if it is a symbol.
    let mut left = old.unwrap_or_default().to_vec();
    let mut fits = !left.is_empty();
    for length in &others {
        match left.iter().position(|other| other == length) {
            Some(found) => drop(left.remove(found)),
            None => fits &= *length == Length::Fixed(1),
        }
    }
    left.retain(|length| *length != Length::Fixed(1));
    match left[..] {
        [] if fits => Length::Fixed(1),
        [one] if fits => one,
        _ => match (old.and_then(product), product(&others)) {
            (Some(total), Some(taken)) if taken > 0 && total % taken == 0 => Length::Fixed(total / taken),
            _ => facts.fresh(),
        },
    }
}

/// The tangent in the new type; zero if that is not a floating-point type.
fn cast_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let (dtype, float) = (tape.dtype(&node.y()), tape.is_float(&node.y()));
    Ok(vec![tangents[0].as_ref().filter(|_| float).map(|tangent| tape.build.cast(tangent, dtype))])
}

fn cast_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let (dtype, float) = (tape.dtype(&node.x(0)), tape.is_float(&node.y()));
    Ok(vec![cotangents[0].as_ref().filter(|_| float).map(|cotangent| tape.build.cast(cotangent, dtype))])
}

fn transpose_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let order = order(tape, node)?;
    let shifted: Vec<i64> = std::iter::once(0).chain(order.iter().map(|axis| axis + 1)).collect();
    Ok(vec![tangents[0].as_ref().map(|tangent| tape.build.transpose(tangent, &shifted))])
}

fn transpose_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let order = order(tape, node)?;
    let mut inverse = vec![0; order.len()];
    for (to, from) in order.iter().enumerate() {
        if let Some(place) = resolve_axis(*from, order.len()) {
            inverse[place] = to as i64;
        }
    }
    Ok(vec![cotangents[0].as_ref().map(|cotangent| tape.build.transpose(cotangent, &inverse))])
}

/// `Reshape`, `Flatten`, `Squeeze`, `Unsqueeze`: a reshape to the output's shape, with the directions in
/// front.
fn reshape_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let tangent = tape.full_tangent(tangent, &node.x(0))?;
    let shape = tape.shape_with_directions(&tangent, &node.y())?;
    Ok(vec![Some(tape.build.reshape_to(&tangent, &shape))])
}

/// A reshape back to the input's shape.
fn reshape_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    let cotangent = tape.full(cotangent, &node.y())?;
    let shape = tape.shape(&node.x(0))?;
    Ok(vec![Some(tape.build.reshape_to(&cotangent, &shape))])
}

/// Only the rank changes: a tangent may have length 1 along axes where its value is longer.
fn expand_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let (from, to) = (tape.rank(&node.x(0))?, tape.rank(&node.y())?);
    Ok(vec![tangents[0].as_ref().map(|tangent| tape.aligned(tangent, from, to))])
}

fn expand_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    Ok(vec![Some(tape.sum_to(cotangent, &node.y(), &node.x(0))?)])
}

fn concat_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(any) = tangents.iter().flatten().next() else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    for (tangent, x) in tangents.iter().zip(&node.inputs) {
        parts.push(match tangent {
            Some(tangent) => tape.full_tangent(tangent, x)?,
            None => {
                let zero = tape.number(0.0, x)?;
                let shape = tape.shape_with_directions(any, x)?;
                tape.build.expand(&zero, &shape)
            }
        });
    }
    let parts: Vec<&Value> = parts.iter().collect();
    Ok(vec![Some(tape.build.concat(&parts, shifted(node.int("axis", 0))))])
}

/// The cotangent split at the lengths of the inputs.
fn concat_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    if node.inputs.len() == 1 {
        return Ok(vec![Some(cotangent.clone())]);
    }
    let cotangent = tape.full(cotangent, &node.y())?;
    let axis = node.int("axis", 0);
    let mut known = Vec::new();
    for x in &node.inputs {
        let dims = tape.dims(x)?;
        known.push(resolve_axis(axis, dims.len()).and_then(|at| dims[at].fixed()));
    }
    let sizes = match known.into_iter().collect::<Option<Vec<i64>>>() {
        Some(sizes) => tape.build.ints("sizes", &sizes),
        None => {
            let at = tape.build.ints("axis", &[axis]);
            let mut sizes = Vec::new();
            for x in &node.inputs {
                let shape = tape.build.shape(x);
                sizes.push(tape.build.gather(&shape, &at, 0));
            }
            tape.build.concat(&sizes.iter().collect::<Vec<_>>(), 0)
        }
    };
    let attributes = [("axis", Attr::Int(axis))];
    let parts = tape.build.op_several("Split", &[&cotangent, &sizes], &attributes, node.inputs.len());
    Ok(parts.into_iter().map(Some).collect())
}

fn split_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axis = node.int("axis", 0);
    let tangent = tape.full_along(tangent, &node.x(0), &[axis])?;
    let sizes = node.x(1);
    let inputs = if sizes.name().is_empty() { vec![&tangent] } else { vec![&tangent, &sizes] };
    let parts = tape.build.copy(&node.proto, &inputs, &[("axis", Attr::Int(shifted(axis)))]);
    Ok(parts.into_iter().map(Some).collect())
}

fn split_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let mut parts = Vec::new();
    for (cotangent, y) in cotangents.iter().zip(&node.outputs) {
        parts.push(match cotangent {
            Some(cotangent) => tape.full(cotangent, y)?,
            None => tape.zeros(y)?,
        });
    }
    let parts: Vec<&Value> = parts.iter().collect();
    Ok(vec![Some(tape.build.concat(&parts, node.int("axis", 0)))])
}

fn order(tape: &mut Tape, node: &TapeNode) -> Result<Vec<i64>> {
    let rank = tape.rank(&node.x(0))? as i64;
    Ok(node.ints("perm").unwrap_or_else(|| (0..rank).rev().collect()))
}
