//! Operators that pick elements: the way back scatters, and elements picked twice add up.

use super::{reshape::shifted, rule::Flows};
use crate::calculus::tape::{Call, Tape};
use crate::{Attr, DType, Result, Value, shapes::place_of};

type Terms = Result<Vec<Option<Value>>>;

pub(super) fn where_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let rank = tape.rank(&call.y())?;
    let mut sides = Vec::new();
    for input in [1, 2] {
        let own = tape.rank(&call.x(input))?;
        sides.push(match &tangents[input] {
            Some(tangent) => tape.aligned(tangent, own, rank),
            None => tape.number(0.0, &call.y())?,
        });
    }
    Ok(vec![Some(tape.build.where_(&call.x(0), &sides[0], &sides[1]))])
}

pub(super) fn where_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let zero = tape.number(0.0, c)?;
    let mut flows = vec![None];
    for (input, kept) in [(1, true), (2, false)] {
        let (a, b) = if kept { (c, &zero) } else { (&zero, c) };
        let masked = tape.build.where_(&call.x(0), a, b);
        flows.push(Some(tape.sum_to(&masked, &call.y(), &call.x(input))?));
    }
    Ok(flows)
}

pub(super) fn slice_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axes = slice_axes(tape, call)?;
    let tangent = tape.full_along(tangent, &call.x(0), &axes)?;
    let shifted: Vec<i64> = axes.iter().map(|axis| axis + 1).collect();
    let axes = tape.build.ints("axes", &shifted);
    let (starts, ends, steps) = (call.x(1), call.x(2), call.x(4));
    let mut inputs = vec![&tangent, &starts, &ends, &axes];
    inputs.extend((!steps.name().is_empty()).then_some(&steps));
    Ok(vec![Some(tape.build.op("Slice", &inputs, &[]))])
}

/// Scattered to the places that were taken, axis by axis.
pub(super) fn slice_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let mut flow = tape.full(c, &call.y())?;
    let rank = tape.rank(&call.x(0))?;
    for (number, axis) in slice_axes(tape, call)?.into_iter().enumerate() {
        let length = length(tape, &call.x(0), axis);
        let places = count_up(tape, &length)?;
        let at = tape.build.ints("at", &[number as i64]);
        let axis_zero = tape.build.ints("axis", &[0]);
        let start = tape.build.gather(&call.x(1), &at, 0);
        let end = tape.build.gather(&call.x(2), &at, 0);
        let mut inputs = vec![places, start, end, axis_zero];
        if !call.x(4).name().is_empty() {
            inputs.push(tape.build.gather(&call.x(4), &at, 0));
        }
        let taken = tape.build.op("Slice", &inputs.iter().collect::<Vec<_>>(), &[]);
        flow = scatter(tape, &flow, &taken, &length, axis as usize, rank);
    }
    Ok(vec![Some(flow)])
}

pub(super) fn gather_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axis = call.int("axis", 0);
    let tangent = tape.full_along(tangent, &call.x(0), &[axis])?;
    Ok(vec![Some(tape.build.gather(&tangent, &call.x(1), shifted(axis)))])
}

/// Slices of the cotangent added up at the indices.
pub(super) fn gather_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let (x, indices) = (call.x(0), call.x(1));
    let (rank, rank_indices) = (tape.rank(&x)?, tape.rank(&indices)?);
    let axis = place_of(call.int("axis", 0), rank);
    let axis = axis.ok_or_else(|| call.refuse("its axis is outside the rank"))?;
    let mut flow = tape.full(c, &call.y())?;
    if rank_indices != 1 {
        // The axes of the indices become one.
        let mut shape: Vec<i64> = vec![0; axis];
        shape.push(-1);
        let shape = tape.build.ints("shape", &shape);
        let whole = tape.build.shape(&x);
        let rest = tail(tape, &whole, axis + 1);
        let shape = tape.build.concat(&[&shape, &rest], 0);
        flow = tape.build.reshape_to(&flow, &shape);
    }
    let flat = tape.build.reshape(&indices, &[-1]);
    let length = length(tape, &x, axis as i64);
    Ok(vec![Some(scatter(tape, &flow, &flat, &length, axis, rank)), None])
}

pub(super) fn gather_elements_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    Ok(vec![Some(gather_elements(tape, tangent, &call.x(0), &call.x(1), call.int("axis", 0))?)])
}

pub(super) fn gather_elements_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let c = tape.full(c, &call.y())?;
    Ok(vec![Some(scatter_elements(tape, &c, &call.x(0), &call.x(1), call.int("axis", 0))?), None])
}

/// The values follow the places that were chosen; the places themselves are integers.
pub(super) fn top_k_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let places = chosen(call)?;
    Ok(vec![Some(gather_elements(tape, tangent, &call.x(0), &places, call.int("axis", -1))?), None])
}

pub(super) fn top_k_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let places = chosen(call)?;
    let c = tape.full(c, &call.y())?;
    Ok(vec![Some(scatter_elements(tape, &c, &call.x(0), &places, call.int("axis", -1))?), None])
}

fn chosen(call: &Call) -> Result<Value> {
    let places = call.outputs.get(1).filter(|places| !places.name().is_empty());
    places.cloned().ok_or_else(|| call.refuse("its second output, the places, is left out"))
}

/// Elements of a tangent at places of the value it belongs to, for every direction.
fn gather_elements(tape: &mut Tape, tangent: &Value, x: &Value, places: &Value, axis: i64) -> Result<Value> {
    let tangent = tape.full_tangent(tangent, x)?;
    let shape = tape.shape_with_directions(&tangent, places)?;
    let spread = tape.build.expand(places, &shape);
    Ok(tape.build.op("GatherElements", &[&tangent, &spread], &[("axis", Attr::Int(shifted(axis)))]))
}

fn scatter_elements(tape: &mut Tape, c: &Value, x: &Value, places: &Value, axis: i64) -> Result<Value> {
    let zeros = tape.zeros(x)?;
    let attributes = [("axis", Attr::Int(axis)), ("reduction", "add".into())];
    Ok(tape.build.op("ScatterElements", &[&zeros, places, c], &attributes))
}

/// Slices along an axis added into zeros at places `[m]`; the axis becomes `length` long.
fn scatter(
    tape: &mut Tape,
    slices: &Value,
    places: &Value,
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
    let places = tape.build.unsqueeze(places, &[-1]);
    let sum = tape.build.op("ScatterND", &[&zeros, &places, &front], &[("reduction", "add".into())]);
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
fn length(tape: &mut Tape, x: &Value, axis: i64) -> Value {
    let shape = tape.build.shape(x);
    let at = tape.build.ints("axis", &[axis]);
    tape.build.gather(&shape, &at, 0)
}

/// `0, 1, .. length - 1`.
fn count_up(tape: &mut Tape, length: &Value) -> Result<Value> {
    let zero = tape.build.constant("zero", crate::Tensor::i64(&[], vec![0])?);
    let one = tape.build.constant("one", crate::Tensor::i64(&[], vec![1])?);
    let end = tape.build.squeeze(length, &[0]);
    Ok(tape.build.op("Range", &[&zero, &end, &one], &[]))
}

/// The elements of a vector from a place on.
fn tail(tape: &mut Tape, vector: &Value, from: usize) -> Value {
    let start = tape.build.ints("start", &[from as i64]);
    let end = tape.build.ints("end", &[i64::MAX]);
    let axis = tape.build.ints("axis", &[0]);
    tape.build.op("Slice", &[vector, &start, &end, &axis], &[])
}

fn slice_axes(tape: &mut Tape, call: &Call) -> Result<Vec<i64>> {
    let rank = tape.rank(&call.x(0))?;
    let axes = if call.x(3).name().is_empty() {
        let count = tape.dims(&call.x(1))?.first().and_then(|length| length.fixed());
        count.map(|count| (0..count).collect())
    } else {
        tape.ints(&call.x(3))
    };
    let place = |axis: &i64| place_of(*axis, rank).map(|at| at as i64);
    let places = axes.and_then(|axes: Vec<i64>| axes.iter().map(place).collect());
    places.ok_or_else(|| call.refuse("its axes are computed, expected constants"))
}
