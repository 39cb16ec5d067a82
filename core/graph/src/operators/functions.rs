//! Element-wise functions: trigonometry and activations.
//!
//! A function named after an operator returns its derivative with respect to one input, from the node's
//! inputs and output.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use super::{
    row::{Change::*, Operator, PointwiseRole::Map, op},
    shape::{broadcast, same},
};
use crate::calculus::{
    DerivativeRule::Elementwise,
    Factor,
    Factor::{Over, Times},
    Tape, TapeNode,
};
use crate::{Result, Value, fuse::Operation};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("Acos", &[7, 22]).changes(&[(&[22], MoreTypes)]),
    op("Acosh", &[9, 22]).changes(&[(&[22], MoreTypes)]),
    op("Asin", &[7, 22]).changes(&[(&[22], MoreTypes)]),
    op("Asinh", &[9, 22]).changes(&[(&[22], MoreTypes)]),
    op("Atan", &[7, 22]).changes(&[(&[22], MoreTypes)]).shape(same).derivative(Elementwise(atan)).learned(),
    op("Atanh", &[9, 22]).changes(&[(&[22], MoreTypes)]),
    op("Celu", &[12, 28]).shape(same).derivative(Elementwise(celu)).learned(),
    op("Cos", &[7, 22]).changes(&[(&[22], MoreTypes)]).shape(same).derivative(Elementwise(cos)).learned(),
    op("Cosh", &[9, 22]).changes(&[(&[22], MoreTypes)]),
    op("Elu", &[1, 6, 22]).changes(&[(&[22], MoreTypes)])
        .shape(same).derivative(Elementwise(elu)).learned(),
    op("Erf", &[9, 13]).changes(&[(&[13], Compatible("integers no longer accepted"))])
        .shape(same).derivative(Elementwise(erf)).fusion(Map(Operation::Erf)).learned(),
    op("Gelu", &[20]).shape(same).derivative(Elementwise(gelu)),
    op("HardSigmoid", &[1, 6, 22]).changes(&[(&[22], MoreTypes)])
        .shape(same).derivative(Elementwise(hard_sigmoid)).learned(),
    op("HardSwish", &[14, 22]).changes(&[(&[22], MoreTypes)])
        .shape(same).derivative(Elementwise(hard_swish)).learned(),
    op("LeakyRelu", &[1, 6, 16]).changes(&[(&[16], MoreTypes)])
        .shape(same).derivative(Elementwise(leaky_relu)).learned(),
    op("Mish", &[18, 22]).changes(&[(&[22], MoreTypes)]).shape(same).derivative(Elementwise(mish)),
    op("PRelu", &[1, 6, 7, 9, 16]).changes(&[(&[9, 16], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(prelu)).learned(),
    op("Relu", &[1, 6, 13, 14]).changes(&[(&[13, 14], MoreTypes)])
        .shape(same).derivative(Elementwise(relu)).fusion(Map(Operation::Relu)).learned(),
    op("Selu", &[1, 6, 22]).changes(&[(&[22], MoreTypes)])
        .shape(same).derivative(Elementwise(selu)).learned(),
    op("Shrink", &[9]),
    op("Sigmoid", &[1, 6, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Elementwise(sigmoid)).fusion(Map(Operation::Sigmoid)).learned(),
    op("Sin", &[7, 22]).changes(&[(&[22], MoreTypes)]).shape(same).derivative(Elementwise(sin)).learned(),
    op("Sinh", &[9, 22]).changes(&[(&[22], MoreTypes)]),
    op("Softplus", &[1, 22]).changes(&[(&[22], MoreTypes)])
        .shape(same).derivative(Elementwise(softplus)).learned(),
    op("Softsign", &[1, 22]).changes(&[(&[22], MoreTypes)])
        .shape(same).derivative(Elementwise(softsign)).learned(),
    op("Swish", &[24]).shape(same).derivative(Elementwise(swish)),
    op("Tan", &[7, 22]).changes(&[(&[22], MoreTypes)]),
    op("Tanh", &[1, 6, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Elementwise(tanh)).fusion(Map(Operation::Tanh)).learned(),
    op("ThresholdedRelu", &[10, 22]).changes(&[(&[22], MoreTypes)])
        .shape(same).derivative(Elementwise(thresholded_relu)).learned(),
];

fn sin(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Times(tape.build.op("Cos", &[&node.x(0)], &[])))
}

fn cos(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let sine = tape.build.op("Sin", &[&node.x(0)], &[]);
    Ok(Times(tape.build.neg(&sine)))
}

/// `2 / sqrt(pi) e^(-x^2)`.
fn erf(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let bell = bell(tape, &node.x(0), 1.0)?;
    let height = tape.number(FRAC_2_SQRT_PI, &bell)?;
    Ok(Times(tape.build.mul(&bell, &height)))
}

/// `1 - y^2`.
fn tanh(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let square = tape.build.mul(&node.y(), &node.y());
    let one = tape.number(1.0, &square)?;
    Ok(Times(tape.build.sub(&one, &square)))
}

/// `y (1 - y)`.
fn sigmoid(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let one = tape.number(1.0, &node.y())?;
    let rest = tape.build.sub(&one, &node.y());
    Ok(Times(tape.build.mul(&node.y(), &rest)))
}

fn softplus(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Times(tape.build.op("Sigmoid", &[&node.x(0)], &[])))
}

/// 1 where `y > 0`, else 0.
fn relu(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Times(tape.build.sign(&node.y())))
}

fn leaky_relu(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let slope = tape.number(f64::from(node.float("alpha", 0.01)), &node.x(0))?;
    by_sign(tape, &node.x(0), 1.0, &slope)
}

/// The slope `s` for `x <= 0`; `min(x, 0)` for `s`.
fn prelu(tape: &mut Tape, node: &TapeNode, input: usize) -> Result<Factor> {
    let x = node.x(0);
    if input == 0 {
        return by_sign(tape, &x, 1.0, &node.x(1));
    }
    let zero = tape.number(0.0, &x)?;
    Ok(Times(tape.build.op("Min", &[&x, &zero], &[])))
}

/// 1 above the threshold, else 0.
fn thresholded_relu(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let threshold = tape.number(f64::from(node.float("alpha", 1.0)), &node.x(0))?;
    let above = tape.build.sub(&node.x(0), &threshold);
    let zero = tape.number(0.0, &above)?;
    by_sign(tape, &above, 1.0, &zero)
}

/// `alpha e^x = y + alpha` for `x <= 0`.
fn elu(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let alpha = tape.number(f64::from(node.float("alpha", 1.0)), &node.x(0))?;
    let slope = tape.build.add(&node.y(), &alpha);
    by_sign(tape, &node.x(0), 1.0, &slope)
}

/// `e^(x / alpha) = y / alpha + 1` for `x <= 0`.
fn celu(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let alpha = tape.number(f64::from(node.float("alpha", 1.0)), &node.x(0))?;
    let one = tape.number(1.0, &node.x(0))?;
    let slope = tape.build.div(&node.y(), &alpha);
    let slope = tape.build.add(&slope, &one);
    by_sign(tape, &node.x(0), 1.0, &slope)
}

/// `gamma alpha e^x = y + gamma alpha` for `x <= 0`, else `gamma` (Klambauer et al. 2017).
fn selu(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let alpha = f64::from(node.float("alpha", 1.673_263_2));
    let gamma = f64::from(node.float("gamma", 1.050_701));
    let limit = tape.number(gamma * alpha, &node.x(0))?;
    let slope = tape.build.add(&node.y(), &limit);
    by_sign(tape, &node.x(0), gamma, &slope)
}

/// `alpha` where `0 < y < 1`, else 0.
fn hard_sigmoid(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let y = node.y();
    let alpha = tape.number(f64::from(node.float("alpha", 0.2)), &y)?;
    let one = tape.number(1.0, &y)?;
    let rest = tape.build.sub(&one, &y);
    let between = tape.build.mul(&y, &rest);
    let between = tape.build.sign(&between);
    Ok(Times(tape.build.mul(&between, &alpha)))
}

/// `x / 3 + 1/2` where `-3 < x < 3`, else 0 or 1.
fn hard_swish(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let x = node.x(0);
    let (three, half) = (tape.number(3.0, &x)?, tape.number(0.5, &x)?);
    let slope = tape.build.div(&x, &three);
    let slope = tape.build.add(&slope, &half);
    let step = tape.build.sign(&x);
    let step = tape.build.relu(&step);
    let size = tape.build.abs(&x);
    let inside = tape.build.op("Less", &[&size, &three], &[]);
    Ok(Times(tape.build.where_(&inside, &slope, &step)))
}

/// `(1 - |y|)^2`.
fn softsign(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let size = tape.build.abs(&node.y());
    let one = tape.number(1.0, &size)?;
    let rest = tape.build.sub(&one, &size);
    Ok(Times(tape.build.mul(&rest, &rest)))
}

/// `t + x (1 - t^2) sigmoid(x)` with `t = tanh(softplus(x))` (Misra 2019).
fn mish(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let x = node.x(0);
    let one = tape.number(1.0, &x)?;
    let t = tape.build.op("Softplus", &[&x], &[]);
    let t = tape.build.tanh(&t);
    let square = tape.build.mul(&t, &t);
    let rest = tape.build.sub(&one, &square);
    let sigmoid = tape.build.op("Sigmoid", &[&x], &[]);
    let slope = tape.build.mul(&rest, &sigmoid);
    let slope = tape.build.mul(&x, &slope);
    Ok(Times(tape.build.add(&t, &slope)))
}

/// `s (1 + a x (1 - s))` with `s = sigmoid(a x)`.
fn swish(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let x = node.x(0);
    let one = tape.number(1.0, &x)?;
    let alpha = tape.number(f64::from(node.float("alpha", 1.0)), &x)?;
    let scaled = tape.build.mul(&x, &alpha);
    let sigmoid = tape.build.op("Sigmoid", &[&scaled], &[]);
    let rest = tape.build.sub(&one, &sigmoid);
    let slope = tape.build.mul(&scaled, &rest);
    let slope = tape.build.add(&slope, &one);
    Ok(Times(tape.build.mul(&sigmoid, &slope)))
}

/// `1 / (1 + x^2)`.
fn atan(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let square = tape.build.mul(&node.x(0), &node.x(0));
    let one = tape.number(1.0, &square)?;
    Ok(Over(tape.build.add(&square, &one)))
}

/// `Phi(x) + x phi(x)`, or the derivative of the tanh approximation (Hendrycks and Gimpel 2016).
fn gelu(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let x = node.x(0);
    Ok(Times(if node.text("approximate") == "tanh" { gelu_tanh(tape, &x)? } else { gelu_exact(tape, &x)? }))
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

/// One factor where `x > 0`, another one elsewhere.
fn by_sign(tape: &mut Tape, x: &Value, above: f64, below: &Value) -> Result<Factor> {
    let (zero, above) = (tape.number(0.0, x)?, tape.number(above, x)?);
    let positive = tape.build.op("Greater", &[x, &zero], &[]);
    Ok(Times(tape.build.where_(&positive, &above, below)))
}

/// `e^(-a x^2)`.
fn bell(tape: &mut Tape, x: &Value, a: f64) -> Result<Value> {
    let square = tape.build.mul(x, x);
    let minus = tape.number(-a, x)?;
    let exponent = tape.build.mul(&square, &minus);
    Ok(tape.build.exp(&exponent))
}
