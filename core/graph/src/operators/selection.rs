//! Operators that select elements.
//!
//! In reverse mode cotangents are scattered back to the selected places; those of elements that were selected
//! several times are added.

use onnx_protobuf::NodeProto;

use super::{
    elements::{gathered, sliced, slices},
    row::{Change::*, Operator, OutputType::*, int, op},
    shape::same,
};
use crate::calculus::{
    DerivativeRule::{Formulas, Zero},
    RuleResult, Sensitivities, Tape, TapeNode, shifted,
};
use crate::{
    Attr, DType, Result, Value,
    shapes::{Facts, Length, resolve_axis},
};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("Compress", &[9, 11, 28]).changes(&[(&[11], NegativeAxes)]),
    op("Gather", &[1, 11, 13]).changes(&[(&[11], NegativeAxes), (&[13], MoreTypes)])
        .shape(gather_shape).elements(gathered)
        .derivative(Formulas { forward: gather_forward, reverse: gather_reverse }).channel_axis(first_axis)
        .learned(),
    op("GatherElements", &[11, 13]).changes(&[(&[13], MoreTypes)])
        .shape(gather_elements_shape)
        .derivative(Formulas { forward: gather_elements_forward, reverse: gather_elements_reverse })
        .learned(),
    op("GatherND", &[11, 12, 13]).changes(&[(&[12], Compatible("batch_dims = 0")), (&[13], MoreTypes)])
        .learned(),
    op("NonMaxSuppression", &[10, 11]).changes(&[(&[11], Compatible("defaults written down"))])
        .outputs(&[Is(DType::I64)]),
    op("NonZero", &[9, 13]).changes(&[(&[13], MoreTypes)])
        .outputs(&[Is(DType::I64)]).shape(non_zero_shape).derivative(Zero),
    op("OneHot", &[9, 11, 28]).changes(&[(&[11], Incompatible("negative indices count from the end"))])
        .outputs(&[Like(2)]).derivative(Zero).learned(),
    op("Scatter", &[9, 11]).changes(&[(&[11], Incompatible("it was replaced by ScatterElements"))]),
    op("ScatterElements", &[11, 13, 16, 18])
        .changes(&[(&[13], MoreTypes), (&[16], Compatible("reduction = none")),
            (&[18], Compatible("other reductions"))])
        .shape(same).learned(),
    op("ScatterND", &[11, 13, 16, 18])
        .changes(&[(&[13], MoreTypes), (&[16], Compatible("reduction = none")),
            (&[18], Compatible("other reductions"))])
        .shape(same).learned(),
    op("Slice", &[1, 10, 11, 13])
        .changes(&[(&[10], Incompatible("its bounds became inputs")), (&[11], NegativeAxes),
            (&[13], MoreTypes)])
        .shape(slice_shape).elements(sliced)
        .derivative(Formulas { forward: slice_forward, reverse: slice_reverse }).learned(),
    op("TensorScatter", &[24]),
    op("TopK", &[1, 10, 11, 24])
        .changes(&[(&[10], Incompatible("k became an input")),
            (&[11], Compatible("largest = 1, sorted = 1")), (&[24], MoreTypes)])
        .outputs(&[Like(0), Is(DType::I64)]).shape(top_k_shape)
        .derivative(Formulas { forward: top_k_forward, reverse: top_k_reverse }).learned(),
    op("Trilu", &[14]).shape(same).learned(),
    op("Unique", &[11, 28]).outputs(&[Like(0), Is(DType::I64), Is(DType::I64), Is(DType::I64)]),
];

fn first_axis(_: &NodeProto, _: usize) -> usize {
    0
}

fn gather_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let (dims, indices) = (facts.input_dims(node, 0)?, facts.input_dims(node, 1)?);
    let axis = resolve_axis(int(node, "axis", 0), dims.len())?;
    Some([&dims[..axis], &indices, &dims[axis + 1..]].concat())
}

fn gather_elements_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    facts.input_dims(node, 1)
}

fn non_zero_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let rank = i64::try_from(facts.input_dims(node, 0)?.len()).ok()?;
    Some(vec![Length::Fixed(rank), facts.fresh()])
}

fn top_k_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let mut dims = facts.input_dims(node, 0)?;
    let axis = resolve_axis(int(node, "axis", -1), dims.len())?;
    let k = facts.known_elements(node.input.get(1)?).and_then(|k| k.first().copied());
    dims[axis] = k.map_or_else(|| facts.fresh(), Length::Fixed);
    Some(dims)
}

fn slice_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let mut dims = facts.input_dims(node, 0)?;
    for (axis, range) in slices(facts, node, dims.len())? {
        dims[axis] = match (dims[axis], range) {
            (Length::Fixed(length), Some(range)) => Length::Fixed(range.within(length).1),
            (symbol, Some(range)) => facts.cut(symbol, range.bounds()),
            _ => facts.fresh(),
        };
    }
    Some(dims)
}

fn slice_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axes = slice_axes(tape, node)?;
    let tangent = tape.full_along(tangent, &node.x(0), &axes)?;
    let shifted: Vec<i64> = axes.iter().map(|axis| axis + 1).collect();
    let axes = tape.build.ints("axes", &shifted);
    let (starts, ends, steps) = (node.x(1), node.x(2), node.x(4));
    let mut inputs = vec![&tangent, &starts, &ends, &axes];
    inputs.extend((!steps.name().is_empty()).then_some(&steps));
    Ok(vec![Some(tape.build.op("Slice", &inputs, &[]))])
}

/// The cotangent scattered to the selected indices, axis by axis.
fn slice_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let mut term = tape.full(c, &node.y())?;
    let rank = tape.rank(&node.x(0))?;
    for (number, axis) in slice_axes(tape, node)?.into_iter().enumerate() {
        let length = length(tape, &node.x(0), axis);
        let indices = range_to(tape, &length)?;
        let at = tape.build.ints("at", &[number as i64]);
        let axis_zero = tape.build.ints("axis", &[0]);
        let start = tape.build.gather(&node.x(1), &at, 0);
        let end = tape.build.gather(&node.x(2), &at, 0);
        let mut inputs = vec![indices, start, end, axis_zero];
        if !node.x(4).name().is_empty() {
            inputs.push(tape.build.gather(&node.x(4), &at, 0));
        }
        let selected = tape.build.op("Slice", &inputs.iter().collect::<Vec<_>>(), &[]);
        term = scatter(tape, &term, &selected, &length, axis as usize, rank);
    }
    Ok(vec![Some(term)])
}

fn gather_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axis = node.int("axis", 0);
    let tangent = tape.full_along(tangent, &node.x(0), &[axis])?;
    Ok(vec![Some(tape.build.gather(&tangent, &node.x(1), shifted(axis)))])
}

/// Slices of the cotangent, added at the indices.
fn gather_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let (x, indices) = (node.x(0), node.x(1));
    let (rank, rank_indices) = (tape.rank(&x)?, tape.rank(&indices)?);
    let axis = resolve_axis(node.int("axis", 0), rank);
    let axis = axis.ok_or_else(|| node.refuse("its axis is out of range for the rank of its input"))?;
    let mut term = tape.full(c, &node.y())?;
    if rank_indices != 1 {
        // Flatten the axes of the indices into one.
        let mut shape: Vec<i64> = vec![0; axis];
        shape.push(-1);
        let shape = tape.build.ints("shape", &shape);
        let whole = tape.build.shape(&x);
        let rest = tail(tape, &whole, axis + 1);
        let shape = tape.build.concat(&[&shape, &rest], 0);
        term = tape.build.reshape_to(&term, &shape);
    }
    let flat = tape.build.reshape(&indices, &[-1]);
    let length = length(tape, &x, axis as i64);
    Ok(vec![Some(scatter(tape, &term, &flat, &length, axis, rank)), None])
}

fn gather_elements_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    Ok(vec![Some(gather_elements(tape, tangent, &node.x(0), &node.x(1), node.int("axis", 0))?)])
}

fn gather_elements_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let c = tape.full(c, &node.y())?;
    Ok(vec![Some(scatter_elements(tape, &c, &node.x(0), &node.x(1), node.int("axis", 0))?), None])
}

/// The tangents of the selected elements; the indices are integers and have none.
fn top_k_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let indices = top_k_indices(node)?;
    Ok(vec![Some(gather_elements(tape, tangent, &node.x(0), &indices, node.int("axis", -1))?), None])
}

fn top_k_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let indices = top_k_indices(node)?;
    let c = tape.full(c, &node.y())?;
    Ok(vec![Some(scatter_elements(tape, &c, &node.x(0), &indices, node.int("axis", -1))?), None])
}

fn top_k_indices(node: &TapeNode) -> Result<Value> {
    let indices = node.outputs.get(1).filter(|indices| !indices.name().is_empty());
    indices.cloned().ok_or_else(|| node.refuse("its second output, the indices, is left out"))
}

/// The elements of a tangent at indices into the value it belongs to, for every direction.
fn gather_elements(tape: &mut Tape, tangent: &Value, x: &Value, indices: &Value, axis: i64) -> Result<Value> {
    let tangent = tape.full_tangent(tangent, x)?;
    let shape = tape.shape_with_directions(&tangent, indices)?;
    let spread = tape.build.expand(indices, &shape);
    Ok(tape.build.op("GatherElements", &[&tangent, &spread], &[("axis", Attr::Int(shifted(axis)))]))
}

fn scatter_elements(tape: &mut Tape, c: &Value, x: &Value, indices: &Value, axis: i64) -> Result<Value> {
    let zeros = tape.zeros(x)?;
    let attributes = [("axis", Attr::Int(axis)), ("reduction", "add".into())];
    Ok(tape.build.op("ScatterElements", &[&zeros, indices, c], &attributes))
}

/// Adds slices along an axis into zeros at indices `[m]`; the axis gets this length.
pub(super) fn scatter(
    tape: &mut Tape,
    slices: &Value,
    indices: &Value,
    length: &Value,
    axis: usize,
    rank: usize,
) -> Value {
    let mut order: Vec<i64> = (0..rank as i64).filter(|other| *other != axis as i64).collect();
    order.insert(0, axis as i64);
    let front = if axis == 0 { slices.clone() } else { tape.build.transpose(slices, &order) };
    let whole = tape.build.shape(&front);
    let rest = tail(tape, &whole, 1);
    let shape = tape.build.concat(&[length, &rest], 0);
    let zeros = tape.build.op("ConstantOfShape", &[&shape], &[]);
    let zeros = match tape.dtype(slices) {
        DType::F32 => zeros,
        dtype => tape.build.cast(&zeros, dtype),
    };
    let indices = tape.build.unsqueeze(indices, &[-1]);
    let sum = tape.build.op("ScatterND", &[&zeros, &indices, &front], &[("reduction", "add".into())]);
    if axis == 0 {
        return sum;
    }
    let mut back = vec![0; rank];
    for (to, from) in order.iter().enumerate() {
        back[*from as usize] = to as i64;
    }
    tape.build.transpose(&sum, &back)
}

/// The length of one axis, `i64[1]`.
pub(super) fn length(tape: &mut Tape, x: &Value, axis: i64) -> Value {
    let shape = tape.build.shape(x);
    let at = tape.build.ints("axis", &[axis]);
    tape.build.gather(&shape, &at, 0)
}

/// `0, 1, .. length - 1`.
pub(super) fn range_to(tape: &mut Tape, length: &Value) -> Result<Value> {
    let zero = tape.build.constant("zero", crate::Tensor::i64(&[], vec![0])?);
    let one = tape.build.constant("one", crate::Tensor::i64(&[], vec![1])?);
    let end = tape.build.squeeze(length, &[0]);
    Ok(tape.build.op("Range", &[&zero, &end, &one], &[]))
}

/// The elements of a vector from an index on.
pub(super) fn tail(tape: &mut Tape, vector: &Value, from: usize) -> Value {
    let start = tape.build.ints("start", &[from as i64]);
    let end = tape.build.ints("end", &[i64::MAX]);
    let axis = tape.build.ints("axis", &[0]);
    tape.build.op("Slice", &[vector, &start, &end, &axis], &[])
}

fn slice_axes(tape: &mut Tape, node: &TapeNode) -> Result<Vec<i64>> {
    let rank = tape.rank(&node.x(0))?;
    let axes = if node.x(3).name().is_empty() {
        let count = tape.dims(&node.x(1))?.first().and_then(|length| length.fixed());
        count.map(|count| (0..count).collect())
    } else {
        tape.ints(&node.x(3))
    };
    let place = |axis: &i64| resolve_axis(*axis, rank).map(|at| at as i64);
    let indices = axes.and_then(|axes: Vec<i64>| axes.iter().map(place).collect());
    indices.ok_or_else(|| node.refuse("its axes are computed by the graph, expected constants"))
}
