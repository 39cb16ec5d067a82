//! Operators that move elements without changing them.

use super::rule::Flows;
use crate::calculus::tape::{Call, Tape};
use crate::{Attr, Result, Value, shapes::place_of};

type Terms = Result<Vec<Option<Value>>>;

/// The tangent in the new type; nothing when that is no floating-point type.
pub(super) fn cast_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let (dtype, float) = (tape.dtype(&call.y()), tape.is_float(&call.y()));
    Ok(vec![tangents[0].as_ref().filter(|_| float).map(|tangent| tape.build.cast(tangent, dtype))])
}

pub(super) fn cast_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let (dtype, float) = (tape.dtype(&call.x(0)), tape.is_float(&call.y()));
    Ok(vec![cotangents[0].as_ref().filter(|_| float).map(|cotangent| tape.build.cast(cotangent, dtype))])
}

pub(super) fn transpose_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let order = order(tape, call)?;
    let shifted: Vec<i64> = std::iter::once(0).chain(order.iter().map(|axis| axis + 1)).collect();
    Ok(vec![tangents[0].as_ref().map(|tangent| tape.build.transpose(tangent, &shifted))])
}

pub(super) fn transpose_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let order = order(tape, call)?;
    let mut inverse = vec![0; order.len()];
    for (to, from) in order.iter().enumerate() {
        if let Some(place) = place_of(*from, order.len()) {
            inverse[place] = to as i64;
        }
    }
    Ok(vec![cotangents[0].as_ref().map(|cotangent| tape.build.transpose(cotangent, &inverse))])
}

/// `Reshape`, `Flatten`, `Squeeze`, `Unsqueeze`: to the output's shape, the directions in front.
pub(super) fn reshape_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let tangent = tape.full_tangent(tangent, &call.x(0))?;
    let shape = tape.shape_with_directions(&tangent, &call.y())?;
    Ok(vec![Some(tape.build.reshape_to(&tangent, &shape))])
}

/// Back to the input's shape.
pub(super) fn reshape_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    let cotangent = tape.full(cotangent, &call.y())?;
    let shape = tape.shape(&call.x(0))?;
    Ok(vec![Some(tape.build.reshape_to(&cotangent, &shape))])
}

/// A thin tangent is expanded already.
pub(super) fn expand_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let (from, to) = (tape.rank(&call.x(0))?, tape.rank(&call.y())?);
    Ok(vec![tangents[0].as_ref().map(|tangent| tape.aligned(tangent, from, to))])
}

pub(super) fn expand_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    Ok(vec![Some(tape.sum_to(cotangent, &call.y(), &call.x(0))?)])
}

pub(super) fn concat_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let Some(any) = tangents.iter().flatten().next() else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    for (tangent, x) in tangents.iter().zip(&call.inputs) {
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
    Ok(vec![Some(tape.build.concat(&parts, shifted(call.int("axis", 0))))])
}

/// Cut at the inputs' lengths.
pub(super) fn concat_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    if call.inputs.len() == 1 {
        return Ok(vec![Some(cotangent.clone())]);
    }
    let cotangent = tape.full(cotangent, &call.y())?;
    let axis = call.int("axis", 0);
    let mut known = Vec::new();
    for x in &call.inputs {
        let dims = tape.dims(x)?;
        known.push(place_of(axis, dims.len()).and_then(|at| dims[at].fixed()));
    }
    let sizes = match known.into_iter().collect::<Option<Vec<i64>>>() {
        Some(sizes) => tape.build.ints("sizes", &sizes),
        None => {
            let at = tape.build.ints("axis", &[axis]);
            let mut sizes = Vec::new();
            for x in &call.inputs {
                let shape = tape.build.shape(x);
                sizes.push(tape.build.gather(&shape, &at, 0));
            }
            tape.build.concat(&sizes.iter().collect::<Vec<_>>(), 0)
        }
    };
    let attributes = [("axis", Attr::Int(axis))];
    let parts = tape.build.op_several("Split", &[&cotangent, &sizes], &attributes, call.inputs.len());
    Ok(parts.into_iter().map(Some).collect())
}

pub(super) fn split_forward(tape: &mut Tape, call: &Call, tangents: Flows<'_>) -> Terms {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axis = call.int("axis", 0);
    let tangent = tape.full_along(tangent, &call.x(0), &[axis])?;
    let sizes = call.x(1);
    let inputs = if sizes.name().is_empty() { vec![&tangent] } else { vec![&tangent, &sizes] };
    let parts = tape.build.copy(&call.node, &inputs, &[("axis", Attr::Int(shifted(axis)))]);
    Ok(parts.into_iter().map(Some).collect())
}

pub(super) fn split_reverse(tape: &mut Tape, call: &Call, cotangents: Flows<'_>) -> Terms {
    let mut parts = Vec::new();
    for (cotangent, y) in cotangents.iter().zip(&call.outputs) {
        parts.push(match cotangent {
            Some(cotangent) => tape.full(cotangent, y)?,
            None => tape.zeros(y)?,
        });
    }
    let parts: Vec<&Value> = parts.iter().collect();
    Ok(vec![Some(tape.build.concat(&parts, call.int("axis", 0)))])
}

fn order(tape: &mut Tape, call: &Call) -> Result<Vec<i64>> {
    let rank = tape.rank(&call.x(0))? as i64;
    Ok(call.ints("perm").unwrap_or_else(|| (0..rank).rev().collect()))
}

/// An axis after directions came in front.
pub(super) fn shifted(axis: i64) -> i64 {
    if axis < 0 { axis } else { axis + 1 }
}
