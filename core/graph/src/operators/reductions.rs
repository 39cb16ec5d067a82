//! Reductions over axes.
//!
//! The derivative of a reduction is the weight of each element: the tangent of the result is the sum of the
//! weighted tangents of the elements.

use onnx_protobuf::NodeProto;

use super::{
    row::{
        Change::{self, *},
        Operator,
        OutputType::*,
        PointwiseRole::Sum,
        int, op,
    },
    shape::without,
};
use crate::calculus::{
    DerivativeRule::{Reduction, Zero},
    Factor::{self, One, Times},
    Tape, TapeNode,
};
use crate::{
    DType, Result, Value,
    shapes::{Facts, Length, resolve_axis},
};

/// The axes became the second input.
const AXES: Change = AttributeToInput { attribute: "axes", input: 1 };

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("ArgMax", &[1, 11, 12, 13])
        .changes(&[(&[11], NegativeAxes), (&[12], Compatible("select_last_index = 0")), (&[13], MoreTypes)])
        .outputs(&[Is(DType::I64)]).shape(arg_shape).derivative(Zero).learned(),
    op("ArgMin", &[1, 11, 12, 13])
        .changes(&[(&[11], NegativeAxes), (&[12], Compatible("select_last_index = 0")), (&[13], MoreTypes)])
        .outputs(&[Is(DType::I64)]).shape(arg_shape).derivative(Zero).learned(),
    op("ReduceL1", &[1, 11, 13, 18]).changes(&[(&[11], NegativeAxes), (&[13], MoreTypes), (&[18], AXES)])
        .shape(reduced_shape).derivative(Reduction(l1)).learned(),
    op("ReduceL2", &[1, 11, 13, 18]).changes(&[(&[11], NegativeAxes), (&[13], MoreTypes), (&[18], AXES)])
        .shape(reduced_shape).derivative(Reduction(l2)).learned(),
    op("ReduceLogSum", &[1, 11, 13, 18, 28])
        .changes(&[(&[11], NegativeAxes), (&[13], MoreTypes), (&[18], AXES)]).shape(reduced_shape),
    op("ReduceLogSumExp", &[1, 11, 13, 18, 28])
        .changes(&[(&[11], NegativeAxes), (&[13], MoreTypes), (&[18], AXES)]).shape(reduced_shape)
        .derivative(Reduction(log_sum_exp)).learned(),
    op("ReduceMax", &[1, 11, 12, 13, 18, 20])
        .changes(&[(&[11], NegativeAxes), (&[12, 13, 20], MoreTypes), (&[18], AXES)]).shape(reduced_shape)
        .derivative(Reduction(extreme)).learned(),
    op("ReduceMean", &[1, 11, 13, 18]).changes(&[(&[11], NegativeAxes), (&[13], MoreTypes), (&[18], AXES)])
        .shape(reduced_shape).derivative(Reduction(mean)).learned(),
    op("ReduceMin", &[1, 11, 12, 13, 18, 20])
        .changes(&[(&[11], NegativeAxes), (&[12, 13, 20], MoreTypes), (&[18], AXES)]).shape(reduced_shape)
        .derivative(Reduction(extreme)).learned(),
    op("ReduceProd", &[1, 11, 13, 18]).changes(&[(&[11], NegativeAxes), (&[13], MoreTypes), (&[18], AXES)])
        .shape(reduced_shape),
    op("ReduceSum", &[1, 11, 13]).changes(&[(&[11], NegativeAxes), (&[13], AXES)])
        .shape(reduced_shape).derivative(Reduction(sum)).fusion(Sum).learned(),
    op("ReduceSumSquare", &[1, 11, 13, 18])
        .changes(&[(&[11], NegativeAxes), (&[13], MoreTypes), (&[18], AXES)]).shape(reduced_shape)
        .derivative(Reduction(sum_square)).learned(),
];

fn reduced_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let dims = facts.input_dims(node, 0)?;
    let axes = facts.reduced_axes(node, dims.len())?;
    if int(node, "keepdims", 1) == 0 {
        return Some(without(&dims, &axes));
    }
    let keep = |(at, length): (usize, &Length)| if axes.contains(&at) { Length::Fixed(1) } else { *length };
    Some(dims.iter().enumerate().map(keep).collect())
}

fn arg_shape(facts: &mut Facts, node: &NodeProto, _: usize) -> Option<Vec<Length>> {
    let mut dims = facts.input_dims(node, 0)?;
    let axis = resolve_axis(int(node, "axis", 0), dims.len())?;
    if int(node, "keepdims", 1) == 0 {
        dims.remove(axis);
    } else {
        dims[axis] = Length::Fixed(1);
    }
    Some(dims)
}

fn sum(_: &mut Tape, _: &TapeNode) -> Result<Factor> {
    Ok(One)
}

fn mean(tape: &mut Tape, node: &TapeNode) -> Result<Factor> {
    let axes = tape.reduced_axes(node)?;
    Ok(Times(tape.share(&node.x(0), &axes)?))
}

/// `2x`.
fn sum_square(tape: &mut Tape, node: &TapeNode) -> Result<Factor> {
    Ok(Times(tape.build.add(&node.x(0), &node.x(0))))
}

fn l1(tape: &mut Tape, node: &TapeNode) -> Result<Factor> {
    Ok(Times(tape.build.sign(&node.x(0))))
}

/// `x / y`, and 0 for zero.
fn l2(tape: &mut Tape, node: &TapeNode) -> Result<Factor> {
    let y = kept(tape, node)?;
    let tiny = tape.number(1e-30, &y)?;
    let y = tape.build.op("Max", &[&y, &tiny], &[]);
    Ok(Times(tape.build.div(&node.x(0), &y)))
}

/// Elements that equal the result share the derivative equally.
fn extreme(tape: &mut Tape, node: &TapeNode) -> Result<Factor> {
    let y = kept(tape, node)?;
    let is = tape.build.op("Equal", &[&node.x(0), &y], &[]);
    let dtype = tape.dtype(&y);
    let is = tape.build.cast(&is, dtype);
    let axes = tape.reduced_axes(node)?;
    let count = tape.build.reduce_sum(&is, &axes, true);
    Ok(Times(tape.build.div(&is, &count)))
}

/// `e^(x - y)`.
fn log_sum_exp(tape: &mut Tape, node: &TapeNode) -> Result<Factor> {
    let y = kept(tape, node)?;
    let below = tape.build.sub(&node.x(0), &y);
    Ok(Times(tape.build.exp(&below)))
}

/// The output with the reduced axes kept, with length 1.
fn kept(tape: &mut Tape, node: &TapeNode) -> Result<Value> {
    let axes = tape.reduced_axes(node)?;
    Ok(tape.with_reduced_axes(node, &node.y(), &axes))
}
