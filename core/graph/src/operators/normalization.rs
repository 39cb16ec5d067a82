//! Normalisations, softmax, and losses.

use onnx_protobuf::NodeProto;

use super::{
    row::{Change::*, Operator, OutputType::*, int, op},
    shape::same,
};
use crate::calculus::{
    DerivativeRule::{Elementwise, Formulas},
    Factor::{self, Times},
    RuleResult, Sensitivities, Tape, TapeNode,
};
use crate::{
    Result, Value,
    shapes::{Facts, Length, resolve_axis},
};

#[rustfmt::skip]
pub(super) const ROWS: &[Operator] = &[
    op("BatchNormalization", &[1, 6, 7, 9, 14, 15])
        .changes(&[(&[9], CompatibleIf(is_spatial, "statistics by position were removed")),
            (&[14], CompatibleIf(has_one_output, "its further outputs, used in training, changed")),
            (&[15], MoreTypes)])
        .outputs(&[Like(0), Like(3), Like(3)]).shape(first_same).derivative(Elementwise(batch_norm)),
    op("GroupNormalization", &[18, 21])
        .changes(&[(&[21], Incompatible("its scale and bias are by channel and no longer by group"))]),
    op("Hardmax", &[1, 11, 13])
        .changes(&[(&[11], NegativeAxes), (&[13], FlattenedAxis)]),
    op("InstanceNormalization", &[1, 6, 22]).changes(&[(&[22], MoreTypes)]),
    op("LRN", &[1, 13]).changes(&[(&[13], MoreTypes)]),
    op("LayerNormalization", &[17])
        .shape(first_same)
        .derivative(Formulas { forward: layer_norm_forward, reverse: layer_norm_reverse }).learned(),
    op("LogSoftmax", &[1, 11, 13])
        .changes(&[(&[11], NegativeAxes), (&[13], FlattenedAxis)])
        .shape(same).derivative(Formulas { forward: log_softmax_forward, reverse: log_softmax_reverse })
        .learned(),
    op("LpNormalization", &[1, 22]).changes(&[(&[22], MoreTypes)]).shape(same)
        .derivative(Formulas { forward: lp_norm_forward, reverse: lp_norm_reverse }),
    op("MeanVarianceNormalization", &[9, 13]),
    op("NegativeLogLikelihoodLoss", &[12, 13, 22]),
    op("RMSNormalization", &[23]).outputs(&[]),
    op("Softmax", &[1, 11, 13])
        .changes(&[(&[11], NegativeAxes), (&[13], FlattenedAxis)])
        .shape(same).derivative(Formulas { forward: softmax_forward, reverse: softmax_reverse }).learned(),
    op("SoftmaxCrossEntropyLoss", &[12, 13]).outputs(&[Like(0), Like(0)]),
];

fn is_spatial(node: &NodeProto) -> bool {
    int(node, "spatial", 1) == 1
}

fn has_one_output(node: &NodeProto) -> bool {
    node.output.iter().skip(1).all(String::is_empty)
}

/// The axes of the first input for the first output; those of further outputs are not known.
fn first_same(facts: &mut Facts, node: &NodeProto, output: usize) -> Option<Vec<Length>> {
    if output == 0 { facts.input_dims(node, 0) } else { None }
}

/// `scale / sqrt(variance + epsilon)` by channel (Ioffe and Szegedy 2015, with the statistics of inference).
/// Derivatives with respect to the scale, bias and statistics are an error.
fn batch_norm(tape: &mut Tape, node: &TapeNode, input: usize) -> Result<Factor> {
    if input != 0 {
        return Err(node.refuse("its scale, bias or statistics depend on the inputs, expected constants"));
    }
    if node.int("training_mode", 0) != 0 {
        return Err(node.refuse("it is in training mode; export the model for inference"));
    }
    let (x, scale, variance) = (node.x(0), node.x(1), node.x(4));
    let eps = tape.number(f64::from(node.float("epsilon", 1e-5)), &variance)?;
    let variance = tape.build.add(&variance, &eps);
    let deviation = tape.build.sqrt(&variance);
    let factor = tape.build.div(&scale, &deviation);
    // Channels are the second axis of x: later axes get length 1.
    let later: Vec<i64> = (1..tape.rank(&x)? as i64 - 1).collect();
    Ok(Times(if later.is_empty() { factor } else { tape.build.unsqueeze(&factor, &later) }))
}

/// `y (t - sum(y t))`: the Jacobian `diag(y) - y y'` is symmetric, so both modes use it.
fn softmax_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axis = axis_from_end(tape, node)?;
    let tangent = tape.full_along(tangent, &node.x(0), &[axis])?;
    Ok(vec![Some(softmax(tape, node, &tangent, axis))])
}

fn softmax_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    let axis = axis_from_end(tape, node)?;
    let cotangent = tape.full(cotangent, &node.y())?;
    Ok(vec![Some(softmax(tape, node, &cotangent, axis))])
}

fn softmax(tape: &mut Tape, node: &TapeNode, sensitivity: &Value, axis: i64) -> Value {
    let weighted = tape.build.mul(&node.y(), sensitivity);
    let sum = tape.build.reduce_sum(&weighted, &[axis], true);
    let centred = tape.build.sub(sensitivity, &sum);
    tape.build.mul(&node.y(), &centred)
}

/// `t - sum(p t)` with `p = e^y`.
fn log_softmax_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axis = axis_from_end(tape, node)?;
    let tangent = tape.full_along(tangent, &node.x(0), &[axis])?;
    let share = tape.build.exp(&node.y());
    let weighted = tape.build.mul(&share, &tangent);
    let sum = tape.build.reduce_sum(&weighted, &[axis], true);
    Ok(vec![Some(tape.build.sub(&tangent, &sum))])
}

/// `c - p sum(c)`.
fn log_softmax_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    let axis = axis_from_end(tape, node)?;
    let cotangent = tape.full(cotangent, &node.y())?;
    let share = tape.build.exp(&node.y());
    let sum = tape.build.reduce_sum(&cotangent, &[axis], true);
    let spread = tape.build.mul(&share, &sum);
    Ok(vec![Some(tape.build.sub(&cotangent, &spread))])
}

/// The parts of layer normalisation (Ba, Kiros and Hinton 2016, section 3).
struct LayerNorm {
    /// The normalised input.
    unit: Value,
    /// One over the standard deviation.
    scale: Value,
    axes: Vec<i64>,
}

fn layer_norm_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let norm = norm(tape, node)?;
    let (x, scale) = (node.x(0), node.x(1));
    let rank = tape.rank(&x)?;
    let mut terms = Vec::new();
    if let Some(tangent) = &tangents[0] {
        let tangent = tape.full_along(tangent, &x, &norm.axes)?;
        let normalized = normalized_derivative(tape, &norm, &tangent, &x)?;
        terms.push(Some(tape.build.mul(&normalized, &scale)));
    }
    if let Some(tangent) = &tangents[1] {
        let own = tape.rank(&scale)?;
        let tangent = tape.aligned(tangent, own, rank);
        terms.push(Some(tape.build.mul(&tangent, &norm.unit)));
    }
    if let Some(Some(tangent)) = tangents.get(2) {
        let own = tape.rank(&node.x(2))?;
        terms.push(Some(tape.aligned(tangent, own, rank)));
    }
    Ok(vec![tape.total(terms)])
}

fn layer_norm_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(cotangent) = &cotangents[0] else { return Ok(Vec::new()) };
    let norm = norm(tape, node)?;
    let (x, scale, y) = (node.x(0), node.x(1), node.y());
    let cotangent = tape.full(cotangent, &y)?;
    let scaled = tape.build.mul(&cotangent, &scale);
    let by_x = normalized_derivative(tape, &norm, &scaled, &x)?;
    let weighted = tape.build.mul(&cotangent, &norm.unit);
    let by_scale = tape.sum_to(&weighted, &y, &scale)?;
    let mut terms = vec![Some(by_x), Some(by_scale)];
    if !node.x(2).name().is_empty() {
        terms.push(Some(tape.sum_to(&cotangent, &y, &node.x(2))?));
    }
    Ok(terms)
}

fn norm(tape: &mut Tape, node: &TapeNode) -> Result<LayerNorm> {
    let x = node.x(0);
    let rank = tape.rank(&x)?;
    let first = resolve_axis(node.int("axis", -1), rank);
    let first = first.ok_or_else(|| node.refuse("its axis is out of range for the rank of its input"))?;
    let axes: Vec<i64> = (first..rank).map(|at| at as i64 - rank as i64).collect();
    let mean = tape.mean(&x, &x, &axes)?;
    let centred = tape.build.sub(&x, &mean);
    let square = tape.build.mul(&centred, &centred);
    let variance = tape.mean(&square, &x, &axes)?;
    let eps = tape.number(f64::from(node.float("epsilon", 1e-5)), &x)?;
    let variance = tape.build.add(&variance, &eps);
    let deviation = tape.build.sqrt(&variance);
    let scale = tape.build.op("Reciprocal", &[&deviation], &[]);
    Ok(LayerNorm { unit: tape.build.mul(&centred, &scale), scale, axes })
}

/// `scale (v - mean(v) - unit mean(v unit))`: the Jacobian is symmetric, so both modes use it.
fn normalized_derivative(tape: &mut Tape, norm: &LayerNorm, sensitivity: &Value, x: &Value) -> Result<Value> {
    let mean = tape.mean(sensitivity, x, &norm.axes)?;
    let along = tape.build.mul(sensitivity, &norm.unit);
    let along = tape.mean(&along, x, &norm.axes)?;
    let along = tape.build.mul(&norm.unit, &along);
    let rest = tape.build.sub(sensitivity, &mean);
    let rest = tape.build.sub(&rest, &along);
    Ok(tape.build.mul(&rest, &norm.scale))
}

/// With the norm `n` and its gradient `g` (`y` for p = 2, the signs of `x` for p = 1), the Jacobian of `y
/// = x / n` is `(I - y g') / n`.
fn lp_norm_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let axis = axis_from_end(tape, node)?;
    let tangent = tape.full_along(tangent, &node.x(0), &[axis])?;
    let (norm, slope) = lp_norm(tape, node, axis);
    Ok(vec![Some(without_part(tape, &tangent, (&node.y(), &slope), &norm, axis))])
}

fn lp_norm_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let axis = axis_from_end(tape, node)?;
    let c = tape.full(c, &node.y())?;
    let (norm, slope) = lp_norm(tape, node, axis);
    Ok(vec![Some(without_part(tape, &c, (&slope, &node.y()), &norm, axis))])
}

/// The norm along an axis, and its gradient.
fn lp_norm(tape: &mut Tape, node: &TapeNode, axis: i64) -> (Value, Value) {
    let x = node.x(0);
    if node.int("p", 2) == 1 {
        let size = tape.build.abs(&x);
        return (tape.build.reduce_sum(&size, &[axis], true), tape.build.sign(&x));
    }
    let square = tape.build.mul(&x, &x);
    let sum = tape.build.reduce_sum(&square, &[axis], true);
    (tape.build.sqrt(&sum), node.y())
}

/// `(v - a sum(b v)) / n` along an axis.
fn without_part(tape: &mut Tape, v: &Value, (a, b): (&Value, &Value), norm: &Value, axis: i64) -> Value {
    let along = tape.build.mul(v, b);
    let along = tape.build.reduce_sum(&along, &[axis], true);
    let along = tape.build.mul(a, &along);
    let rest = tape.build.sub(v, &along);
    tape.build.div(&rest, norm)
}

/// The axis counted from the end, so that it is the same with the directions in front.
fn axis_from_end(tape: &mut Tape, node: &TapeNode) -> Result<i64> {
    let rank = tape.rank(&node.x(0))?;
    let place = resolve_axis(node.int("axis", -1), rank);
    let place = place.ok_or_else(|| node.refuse("its axis is out of range for the rank of its input"))?;
    Ok(place as i64 - rank as i64)
}
