//! Arithmetic: sums, products, powers, extremes, rounding, bits.
//!
//! A function named after an operator returns its derivative with respect to one input, from the node's
//! inputs and output.

use super::{
    row::{Change::*, Operator, PointwiseRole::Map, op},
    shape::{broadcast, same},
};
use crate::calculus::{
    DerivativeRule::{Elementwise, Formulas, Zero},
    Factor::{self, Minus, One, Over, Times},
    RuleResult, Sensitivities, Tape, TapeNode, shifted,
};
use crate::{Attr, Result, Value, fuse::Operation};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("Abs", &[1, 6, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Elementwise(abs)).fusion(Map(Operation::Abs)).learned(),
    op("Add", &[1, 6, 7, 13, 14]).changes(&[(&[13, 14], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(one)).fusion(Map(Operation::Add)).learned(),
    op("BitShift", &[11, 28]),
    op("BitwiseAnd", &[18]),
    op("BitwiseNot", &[18]),
    op("BitwiseOr", &[18]),
    op("BitwiseXor", &[18]),
    op("Ceil", &[1, 6, 13]).changes(&[(&[13], MoreTypes)]).shape(same).derivative(Zero).learned(),
    op("Clip", &[1, 6, 11, 12, 13])
        .changes(&[(&[11], Incompatible("its bounds became inputs")), (&[12, 13], MoreTypes)]).shape(same)
        .derivative(Elementwise(clip)).learned(),
    op("CumProd", &[26]),
    op("CumSum", &[11, 14]).changes(&[(&[14], MoreTypes)])
        .shape(same).derivative(Formulas { forward: cum_sum_forward, reverse: cum_sum_reverse }).learned(),
    op("Div", &[1, 6, 7, 13, 14]).changes(&[(&[13, 14], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(div)).fusion(Map(Operation::Div)).learned(),
    op("Exp", &[1, 6, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Elementwise(exp)).fusion(Map(Operation::Exp)).learned(),
    op("Floor", &[1, 6, 13]).changes(&[(&[13], MoreTypes)]).shape(same).derivative(Zero).learned(),
    op("Log", &[1, 6, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Elementwise(log)).fusion(Map(Operation::Log)).learned(),
    op("Max", &[1, 6, 8, 12, 13])
        .changes(&[(&[8], Compatible("inputs of different shapes are broadcast")), (&[12, 13], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(extreme)).fusion(Map(Operation::Max)).learned(),
    op("Mean", &[1, 6, 8, 13])
        .changes(&[(&[8], Compatible("inputs of different shapes are broadcast")), (&[13], MoreTypes)])
        .shape(broadcast).learned(),
    op("Min", &[1, 6, 8, 12, 13])
        .changes(&[(&[8], Compatible("inputs of different shapes are broadcast")), (&[12, 13], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(extreme)).fusion(Map(Operation::Min)).learned(),
    op("Mod", &[10, 13, 28]).changes(&[(&[13], MoreTypes)]).shape(broadcast).learned(),
    op("Mul", &[1, 6, 7, 13, 14]).changes(&[(&[13, 14], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(mul)).fusion(Map(Operation::Mul)).learned(),
    op("Neg", &[1, 6, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Elementwise(neg)).fusion(Map(Operation::Neg)).learned(),
    op("Pow", &[1, 7, 12, 13, 15]).changes(&[(&[12, 13, 15], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(pow)).learned(),
    op("Reciprocal", &[1, 6, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Elementwise(reciprocal)).fusion(Map(Operation::Reciprocal)).learned(),
    op("Round", &[11, 22]).changes(&[(&[22], MoreTypes)]).shape(same).derivative(Zero).learned(),
    op("Sign", &[9, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Zero).fusion(Map(Operation::Sign)).learned(),
    op("Sqrt", &[1, 6, 13]).changes(&[(&[13], MoreTypes)])
        .shape(same).derivative(Elementwise(sqrt)).fusion(Map(Operation::Sqrt)).learned(),
    op("Sub", &[1, 6, 7, 13, 14]).changes(&[(&[13, 14], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(sub)).fusion(Map(Operation::Sub)).learned(),
    op("Sum", &[1, 6, 8, 13])
        .changes(&[(&[8], Compatible("inputs of different shapes are broadcast")), (&[13], MoreTypes)])
        .shape(broadcast).derivative(Elementwise(one)).fusion(Map(Operation::Add)).learned(),
];

fn one(_: &mut Tape, _: &TapeNode, _: usize) -> Result<Factor> {
    Ok(One)
}

fn neg(_: &mut Tape, _: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Minus)
}

fn sub(_: &mut Tape, _: &TapeNode, input: usize) -> Result<Factor> {
    Ok(if input == 0 { One } else { Minus })
}

fn mul(_: &mut Tape, node: &TapeNode, input: usize) -> Result<Factor> {
    Ok(Times(node.x(1 - input)))
}

/// `1 / b` for `a`, `-y / b` for `b`.
fn div(tape: &mut Tape, node: &TapeNode, input: usize) -> Result<Factor> {
    if input == 0 {
        return Ok(Over(node.x(1)));
    }
    let ratio = tape.build.div(&node.y(), &node.x(1));
    Ok(Times(tape.build.neg(&ratio)))
}

/// `-y^2`.
fn reciprocal(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    let square = tape.build.mul(&node.y(), &node.y());
    Ok(Times(tape.build.neg(&square)))
}

/// `b a^(b-1)` for `a`, `y ln a` for `b` (0 where `a <= 0`, where the power has no derivative by `b`).
fn pow(tape: &mut Tape, node: &TapeNode, input: usize) -> Result<Factor> {
    let (a, b) = (node.x(0), node.x(1));
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
    Ok(Times(tape.build.mul(&node.y(), &log)))
}

/// `1 / 2y`.
fn sqrt(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Over(tape.build.add(&node.y(), &node.y())))
}

fn exp(_: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Times(node.y()))
}

fn log(_: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Over(node.x(0)))
}

fn abs(tape: &mut Tape, node: &TapeNode, _: usize) -> Result<Factor> {
    Ok(Times(tape.build.sign(&node.x(0))))
}

/// 1 inside the bounds and on them, else 0. Derivatives with respect to the bounds are an error.
fn clip(tape: &mut Tape, node: &TapeNode, input: usize) -> Result<Factor> {
    if input != 0 {
        return Err(node.refuse("its bounds depend on the inputs of the derivative, expected constants"));
    }
    let inside = equals(tape, &node.x(0), &node.y());
    Ok(Times(inside))
}

/// `Max` and `Min`: 1 over the number of inputs that equal the result, for each of those; 1 or 0 if the only
/// other input is a weight.
fn extreme(tape: &mut Tape, node: &TapeNode, input: usize) -> Result<Factor> {
    if node.inputs.len() == 1 {
        return Ok(One);
    }
    let own = equals(tape, &node.x(input), &node.y());
    if node.inputs.len() == 2 && tape.build.is_weight(&node.x(1 - input)) {
        return Ok(Times(own));
    }
    let all: Vec<Option<Value>> = node.inputs.iter().map(|x| Some(equals(tape, x, &node.y()))).collect();
    let all = tape.total(all).unwrap_or_else(|| own.clone());
    Ok(Times(tape.build.div(&own, &all)))
}

/// The cumulative sum of the tangents, along the same axis.
fn cum_sum_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axis = tape.ints(&node.x(1)).and_then(|axis| axis.first().copied());
    let axis = axis.ok_or_else(|| node.refuse("its axis is computed by the graph, expected a constant"))?;
    let tangent = tape.full_along(tangent, &node.x(0), &[axis])?;
    let axis = tape.build.constant("axis", crate::Tensor::i64(&[], vec![shifted(axis)])?);
    Ok(vec![tape.build.copy(&node.proto, &[&tangent, &axis], &[]).into_iter().next()])
}

/// The cumulative sum of the cotangents from the other end.
fn cum_sum_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let c = tape.full(c, &node.y())?;
    let backwards = [("reverse", Attr::Int(i64::from(node.int("reverse", 0) == 0)))];
    Ok(vec![tape.build.copy(&node.proto, &[&c, &node.x(1)], &backwards).into_iter().next(), None])
}

/// 1 where two values are equal, else 0.
fn equals(tape: &mut Tape, x: &Value, y: &Value) -> Value {
    let dtype = tape.dtype(y);
    let equal = tape.build.op("Equal", &[x, y], &[]);
    tape.build.cast(&equal, dtype)
}
