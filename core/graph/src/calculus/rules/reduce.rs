//! Reductions: the weight of each element in the sum that moves when it moves.

use super::rule::Factor;
use crate::calculus::tape::{Call, Tape};
use crate::{Result, Value};

use Factor::{One, Times};

type Weight = Result<Factor>;

pub(super) fn sum(_: &mut Tape, _: &Call) -> Weight {
    Ok(One)
}

pub(super) fn mean(tape: &mut Tape, call: &Call) -> Weight {
    let axes = tape.reduced_axes(call)?;
    Ok(Times(tape.share(&call.x(0), &axes)?))
}

/// `2x`.
pub(super) fn sum_square(tape: &mut Tape, call: &Call) -> Weight {
    Ok(Times(tape.build.add(&call.x(0), &call.x(0))))
}

pub(super) fn l1(tape: &mut Tape, call: &Call) -> Weight {
    Ok(Times(tape.build.sign(&call.x(0))))
}

/// `x / y`, and 0 for zero.
pub(super) fn l2(tape: &mut Tape, call: &Call) -> Weight {
    let y = kept(tape, call)?;
    let tiny = tape.number(1e-30, &y)?;
    let y = tape.build.op("Max", &[&y, &tiny], &[]);
    Ok(Times(tape.build.div(&call.x(0), &y)))
}

/// The extreme elements share equally.
pub(super) fn extreme(tape: &mut Tape, call: &Call) -> Weight {
    let y = kept(tape, call)?;
    let is = tape.build.op("Equal", &[&call.x(0), &y], &[]);
    let dtype = tape.dtype(&y);
    let is = tape.build.cast(&is, dtype);
    let axes = tape.reduced_axes(call)?;
    let count = tape.build.reduce_sum(&is, &axes, true);
    Ok(Times(tape.build.div(&is, &count)))
}

/// `e^(x - y)`.
pub(super) fn log_sum_exp(tape: &mut Tape, call: &Call) -> Weight {
    let y = kept(tape, call)?;
    let below = tape.build.sub(&call.x(0), &y);
    Ok(Times(tape.build.exp(&below)))
}

/// The output with the reduced axes in place.
fn kept(tape: &mut Tape, call: &Call) -> Result<Value> {
    let axes = tape.reduced_axes(call)?;
    Ok(with_axes(tape, call, &call.y(), &axes))
}

/// Something shaped like the output, with the reduced axes in place.
pub(in crate::calculus) fn with_axes(tape: &mut Tape, call: &Call, value: &Value, axes: &[i64]) -> Value {
    if call.int("keepdims", 1) != 0 || axes.is_empty() {
        value.clone()
    } else {
        tape.build.unsqueeze(value, axes)
    }
}
