//! Element-wise operators: the derivative by each input, from the inputs and the output.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use super::rule::Factor;
use crate::calculus::tape::{Call, Tape};
use crate::{Result, Value};

use Factor::{Minus, One, Over, Times};

type Derivative = Result<Factor>;

pub(super) fn one(_: &mut Tape, _: &Call, _: usize) -> Derivative {
    Ok(One)
}

pub(super) fn neg(_: &mut Tape, _: &Call, _: usize) -> Derivative {
    Ok(Minus)
}

pub(super) fn sub(_: &mut Tape, _: &Call, input: usize) -> Derivative {
    Ok(if input == 0 { One } else { Minus })
}

pub(super) fn mul(_: &mut Tape, call: &Call, input: usize) -> Derivative {
    Ok(Times(call.x(1 - input)))
}

/// `1 / b`, `-y / b`.
pub(super) fn div(tape: &mut Tape, call: &Call, input: usize) -> Derivative {
    if input == 0 {
        return Ok(Over(call.x(1)));
    }
    let ratio = tape.build.div(&call.y(), &call.x(1));
    Ok(Times(tape.build.neg(&ratio)))
}

/// `-y^2`.
pub(super) fn reciprocal(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    let square = tape.build.mul(&call.y(), &call.y());
    Ok(Times(tape.build.neg(&square)))
}

/// `b a^(b-1)`, `y ln a` (0 where `a <= 0`, where the power by a real exponent has no derivative).
pub(super) fn pow(tape: &mut Tape, call: &Call, input: usize) -> Derivative {
    let (a, b) = (call.x(0), call.x(1));
    let one = tape.number(1.0, &a)?;
    if input == 0 {
        let dtype = tape.dtype(&a);
        let b = if tape.dtype(&b) == dtype { b } else { tape.build.cast(&b, dtype) };
        let less = tape.build.sub(&b, &one);
        let power = tape.build.op("Pow", &[&a, &less], &[]);
        return Ok(Times(tape.build.mul(&b, &power)));
    }
    let zero = tape.number(0.0, &a)?;
    let positive = tape.build.op("Greater", &[&a, &zero], &[]);
    let safe = tape.build.where_(&positive, &a, &one);
    let log = tape.build.log(&safe);
    Ok(Times(tape.build.mul(&call.y(), &log)))
}

/// `1 / 2y`.
pub(super) fn sqrt(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    Ok(Over(tape.build.add(&call.y(), &call.y())))
}

pub(super) fn exp(_: &mut Tape, call: &Call, _: usize) -> Derivative {
    Ok(Times(call.y()))
}

pub(super) fn log(_: &mut Tape, call: &Call, _: usize) -> Derivative {
    Ok(Over(call.x(0)))
}

pub(super) fn abs(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    Ok(Times(tape.build.sign(&call.x(0))))
}

pub(super) fn sin(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    Ok(Times(tape.build.op("Cos", &[&call.x(0)], &[])))
}

pub(super) fn cos(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    let sine = tape.build.op("Sin", &[&call.x(0)], &[]);
    Ok(Times(tape.build.neg(&sine)))
}

/// `2 / sqrt(pi) e^(-x^2)`.
pub(super) fn erf(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    let bell = bell(tape, &call.x(0), 1.0)?;
    let height = tape.number(FRAC_2_SQRT_PI, &bell)?;
    Ok(Times(tape.build.mul(&bell, &height)))
}

/// `1 - y^2`.
pub(super) fn tanh(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    let square = tape.build.mul(&call.y(), &call.y());
    let one = tape.number(1.0, &square)?;
    Ok(Times(tape.build.sub(&one, &square)))
}

/// `y (1 - y)`.
pub(super) fn sigmoid(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    let one = tape.number(1.0, &call.y())?;
    let rest = tape.build.sub(&one, &call.y());
    Ok(Times(tape.build.mul(&call.y(), &rest)))
}

pub(super) fn softplus(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    Ok(Times(tape.build.op("Sigmoid", &[&call.x(0)], &[])))
}

/// 1 where `y > 0`, else 0; `y` is never negative.
pub(super) fn relu(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    Ok(Times(tape.build.sign(&call.y())))
}

pub(super) fn leaky_relu(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    let x = call.x(0);
    let zero = tape.number(0.0, &x)?;
    let positive = tape.build.op("Greater", &[&x, &zero], &[]);
    let one = tape.number(1.0, &x)?;
    let slope = tape.number(f64::from(call.float("alpha", 0.01)), &x)?;
    Ok(Times(tape.build.where_(&positive, &one, &slope)))
}

/// `Phi(x) + x phi(x)`; with `approximate = tanh` the derivative of that formula.
pub(super) fn gelu(tape: &mut Tape, call: &Call, _: usize) -> Derivative {
    let x = call.x(0);
    Ok(Times(if call.text("approximate") == "tanh" { gelu_tanh(tape, &x)? } else { gelu_exact(tape, &x)? }))
}

fn gelu_exact(tape: &mut Tape, x: &Value) -> Result<Value> {
    let (half, one, scale) = (tape.number(0.5, x)?, tape.number(1.0, x)?, tape.number(FRAC_1_SQRT_2, x)?);
    let height = tape.number(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2, x)?;
    let scaled = tape.build.mul(x, &scale);
    let erf = tape.build.erf(&scaled);
    let area = tape.build.add(&erf, &one);
    let area = tape.build.mul(&area, &half);
    let bell = bell(tape, x, 0.5)?;
    let density = tape.build.mul(&bell, &height);
    let density = tape.build.mul(&density, x);
    Ok(tape.build.add(&area, &density))
}

/// With `u = a (x + b x^3)`, `t = tanh u` and `y = x/2 (1 + t)`: `y' = (1 + t + x (1 - t^2) a (1 + 3 b x^2))
/// / 2`.
fn gelu_tanh(tape: &mut Tape, x: &Value) -> Result<Value> {
    let (half, one) = (tape.number(0.5, x)?, tape.number(1.0, x)?);
    let (a, b) = (tape.number((2.0 / PI).sqrt(), x)?, tape.number(0.044_715, x)?);
    let three_b = tape.number(3.0 * 0.044_715, x)?;
    let square = tape.build.mul(x, x);
    let u = tape.build.mul(&square, &b);
    let u = tape.build.add(&u, &one);
    let u = tape.build.mul(&u, x);
    let u = tape.build.mul(&u, &a);
    let t = tape.build.tanh(&u);
    let slope = tape.build.mul(&square, &three_b);
    let slope = tape.build.add(&slope, &one);
    let slope = tape.build.mul(&slope, &a);
    let rest = tape.build.mul(&t, &t);
    let rest = tape.build.sub(&one, &rest);
    let rest = tape.build.mul(&rest, &slope);
    let rest = tape.build.mul(&rest, x);
    let sum = tape.build.add(&t, &one);
    let sum = tape.build.add(&sum, &rest);
    Ok(tape.build.mul(&sum, &half))
}

/// 1 inside the bounds and on them, else 0; the bounds themselves are taken as constants.
pub(super) fn clip(tape: &mut Tape, call: &Call, input: usize) -> Derivative {
    if input != 0 {
        return Err(call.refuse("its bounds depend on what is differentiated, expected constants"));
    }
    let inside = is(tape, &call.x(0), &call.y());
    Ok(Times(inside))
}

/// `Max` and `Min`: the share of each input that is the extreme; 1 or 0 where the only other input is a
/// constant.
pub(super) fn extreme(tape: &mut Tape, call: &Call, input: usize) -> Derivative {
    if call.inputs.len() == 1 {
        return Ok(One);
    }
    let own = is(tape, &call.x(input), &call.y());
    if call.inputs.len() == 2 && tape.build.is_weight(&call.x(1 - input)) {
        return Ok(Times(own));
    }
    let all: Vec<Option<Value>> = call.inputs.iter().map(|x| Some(is(tape, x, &call.y()))).collect();
    let all = tape.total(all).unwrap_or_else(|| own.clone());
    Ok(Times(tape.build.div(&own, &all)))
}

/// 1 where two values are equal, else 0.
fn is(tape: &mut Tape, x: &Value, y: &Value) -> Value {
    let dtype = tape.dtype(y);
    let equal = tape.build.op("Equal", &[x, y], &[]);
    tape.build.cast(&equal, dtype)
}

/// `e^(-a x^2)`.
fn bell(tape: &mut Tape, x: &Value, a: f64) -> Result<Value> {
    let square = tape.build.mul(x, x);
    let minus = tape.number(-a, x)?;
    let exponent = tape.build.mul(&square, &minus);
    Ok(tape.build.exp(&exponent))
}
