//! Shapes and the derivative of `Pad`, which is linear in its first input.

use onnx_protobuf::NodeProto;

use super::selection::{length, range_to, scatter};
use crate::calculus::{RuleResult, Sensitivities, Tape, TapeNode, shifted};
use crate::{
    Result, Value,
    shapes::{Facts, Length, resolve_axes},
};

pub(super) fn pad_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let mut dims = facts.input_dims(node, 0)?;
    let axes = match node.input.get(3).filter(|name| !name.is_empty()) {
        Some(name) => resolve_axes(&facts.known_elements(name)?, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    let pads = node.input.get(1).and_then(|name| facts.known_elements(name));
    let added = |number: usize| {
        let pads = pads.as_ref()?;
        pads.get(number)?.checked_add(*pads.get(number + axes.len())?)
    };
    for (number, &at) in axes.iter().enumerate() {
        dims[at] = match (added(number), dims[at].fixed()) {
            (Some(0), _) => dims[at],
            (Some(added), Some(length)) => Length::Fixed(length.checked_add(added)?.max(0)),
            _ => facts.fresh(),
        };
    }
    Some(dims)
}

/// The tangents, padded in the same way; a constant is a padding with zeros.
pub(super) fn pad_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    if tangents.get(2).is_some_and(Option::is_some) {
        return Err(node.refuse("its constant depends on the inputs of the derivative, expected a number"));
    }
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let tangent = tape.full_tangent(tangent, &node.x(0))?;
    let (pads, axes, none) = (node.x(1), node.x(3), Value::none());
    let padded = if axes.name().is_empty() {
        let rank = tape.rank(&node.x(0))? as i64;
        let zero = tape.build.ints("zero", &[0]);
        let half = |tape: &mut Tape, from: i64| {
            let (start, end) = (tape.build.ints("start", &[from]), tape.build.ints("end", &[from + rank]));
            let axis = tape.build.ints("axis", &[0]);
            tape.build.op("Slice", &[&pads, &start, &end, &axis], &[])
        };
        let (before, after) = (half(tape, 0), half(tape, rank));
        let pads = tape.build.concat(&[&zero, &before, &zero, &after], 0);
        tape.build.copy(&node.proto, &[&tangent, &pads], &[])
    } else {
        let known = tape.ints(&axes).ok_or_else(|| node.refuse("its axes are not constants"))?;
        let known: Vec<i64> = known.into_iter().map(shifted).collect();
        let axes = tape.build.ints("axes", &known);
        tape.build.copy(&node.proto, &[&tangent, &pads, &none, &axes], &[])
    };
    Ok(vec![padded.into_iter().next()])
}

/// The cotangent without the padding; in the modes that repeat elements, each gets the cotangents of its
/// repetitions too.
pub(super) fn pad_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let c = tape.full(c, &node.y())?;
    let (pads, axes, none) = (node.x(1), node.x(3), Value::none());
    if !matches!(node.text("mode").as_str(), "" | "constant") {
        return Ok(vec![Some(folded_back(tape, node, c)?)]);
    }
    let back = tape.build.neg(&pads);
    let inputs = if axes.name().is_empty() { vec![&c, &back] } else { vec![&c, &back, &none, &axes] };
    let cut = tape.build.op("Pad", &inputs, &[]);
    let shape = tape.shape(&node.x(0))?;
    Ok(vec![Some(tape.build.reshape_to(&cut, &shape))])
}

/// Adds the cotangent of every repetition to that of its element, axis by axis. Which element is repeated
/// where is what the node makes of the numbers 0, 1, .. of the axis.
fn folded_back(tape: &mut Tape, node: &TapeNode, c: Value) -> Result<Value> {
    let x = node.x(0);
    let rank = tape.rank(&x)?;
    let axes = match node.x(3) {
        axes if axes.name().is_empty() => Some((0..rank).collect()),
        axes => tape.ints(&axes).and_then(|axes| resolve_axes(&axes, rank)),
    };
    let axes: Vec<usize> = axes.ok_or_else(|| node.refuse("its axes are not constants"))?;
    let pads = tape.ints(&node.x(1)).filter(|pads| pads.len() == 2 * axes.len());
    let pads = pads.ok_or_else(|| node.refuse("its pads are not constants"))?;
    let mut sum = c;
    for (number, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[number], pads[number + axes.len()]);
        if (before, after) == (0, 0) {
            continue;
        }
        let length = length(tape, &x, axis as i64);
        let numbers = range_to(tape, &length)?;
        let own = tape.build.ints("pads", &[before, after]);
        let repeated = tape.build.copy(&node.proto, &[&numbers, &own], &[]);
        let repeated = repeated.into_iter().next().unwrap_or_else(Value::none);
        sum = scatter(tape, &sum, &repeated, &length, axis, rank);
    }
    let shape = tape.shape(&x)?;
    Ok(tape.build.reshape_to(&sum, &shape))
}
