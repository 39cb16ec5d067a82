//! Derivatives of operators that slide a window over images: convolution and average pooling.
//!
//! Both are linear in their first input, so the forward mode applies the operator itself to the tangents,
//! with the directions folded into the batch. The reverse mode is a transposed convolution, which is computed
//! without padding and then cut to the lengths of the input. Kernels must be constants.

use super::selection::tail;
use crate::calculus::{RuleResult, Sensitivities, Tape, TapeNode};
use crate::{Attr, DType, Result, Tensor, Value};

/// How a window slides along one axis.
struct Window {
    size: i64,
    stride: i64,
    dilation: i64,
    /// The padding before the first element and after the last one.
    pads: (i64, i64),
}

/// `W * dx + db`.
pub(super) fn conv_forward(tape: &mut Tape, node: &TapeNode, tangents: Sensitivities<'_>) -> RuleResult {
    if tangents.get(1).is_some_and(Option::is_some) {
        return Err(node.refuse("its kernel depends on the inputs of the derivative, expected a constant"));
    }
    let mut terms = Vec::new();
    if let Some(tangent) = &tangents[0] {
        terms.push(Some(on_images(tape, node, tangent, &[&node.x(1)])?));
    }
    if let Some(Some(tangent)) = tangents.get(2) {
        // The bias has one element per channel: the tangents get axes for the batch and the positions.
        let rank = tape.rank(&node.y())? as i64;
        let axes: Vec<i64> = std::iter::once(1).chain(3..=rank).collect();
        terms.push(Some(tape.build.unsqueeze(tangent, &axes)));
    }
    Ok(vec![tape.total(terms)])
}

/// The transposed convolution of the cotangent; its sum over batch and positions for the bias.
pub(super) fn conv_reverse(tape: &mut Tape, node: &TapeNode, cotangents: Sensitivities<'_>) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let c = tape.full(c, &node.y())?;
    let (x, kernel) = (node.x(0), node.x(1));
    let sizes: Option<Vec<i64>> = tape.dims(&kernel)?.iter().skip(2).map(|length| length.fixed()).collect();
    let sizes = sizes.ok_or_else(|| node.refuse("the lengths of its kernel are not constants"))?;
    let windows = windows(tape, node, &sizes)?;
    let by_x = spread(tape, &c, &kernel, &windows, node.int("group", 1), &x)?;
    // States the shape, which the inference of shapes does not follow through computed paddings.
    let shape = tape.shape(&x)?;
    let by_x = tape.build.reshape_to(&by_x, &shape);
    let mut terms = vec![Some(by_x), None];
    if !node.x(2).name().is_empty() {
        let axes: Vec<i64> = std::iter::once(0).chain(2..2 + windows.len() as i64).collect();
        terms.push(Some(tape.build.reduce_sum(&c, &axes, false)));
    }
    Ok(terms)
}

pub(super) fn average_pool_forward(
    tape: &mut Tape,
    node: &TapeNode,
    tangents: Sensitivities<'_>,
) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    Ok(vec![Some(on_images(tape, node, tangent, &[])?)])
}

/// Each cotangent, divided by the number of elements of its window, spread over the window.
pub(super) fn average_pool_reverse(
    tape: &mut Tape,
    node: &TapeNode,
    cotangents: Sensitivities<'_>,
) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    if node.int("ceil_mode", 0) != 0 {
        return Err(node.refuse("its ceil_mode is 1; gradients through it are computed for 0 only"));
    }
    let (x, y) = (node.x(0), node.y());
    let sizes = node.ints("kernel_shape").unwrap_or_default();
    let windows = windows(tape, node, &sizes)?;
    let c = tape.full(c, &y)?;
    let shares = shares(tape, node, &c, &windows)?;
    // One channel at a time, so that one kernel of ones serves all.
    let lengths = tape.shape(&y)?;
    let lengths = tail(tape, &lengths, 2);
    let each = tape.build.ints("each", &[-1, 1]);
    let shape = tape.build.concat(&[&each, &lengths], 0);
    let shares = tape.build.reshape_to(&shares, &shape);
    let kernel_shape: Vec<usize> =
        [1, 1].into_iter().chain(sizes.iter().map(|size| usize::try_from(*size).unwrap_or(1))).collect();
    let kernel = Tensor::f32(&kernel_shape, vec![1.0; kernel_shape.iter().product()])?;
    let kernel = tape.build.constant("ones", kernel);
    let dtype = tape.dtype(&x);
    let kernel = if dtype == DType::F32 { kernel } else { tape.build.cast(&kernel, dtype) };
    let sum = spread(tape, &shares, &kernel, &windows, 1, &x)?;
    let shape = tape.shape(&x)?;
    Ok(vec![Some(tape.build.reshape_to(&sum, &shape))])
}

/// The mean over all positions.
pub(super) fn global_average_forward(
    tape: &mut Tape,
    node: &TapeNode,
    tangents: Sensitivities<'_>,
) -> RuleResult {
    let Some(tangent) = &tangents[0] else { return Ok(Vec::new()) };
    let x = node.x(0);
    let axes: Vec<i64> = (2..tape.rank(&x)? as i64).collect();
    let tangent = tape.full_along(tangent, &x, &axes)?;
    let shifted: Vec<i64> = axes.iter().map(|axis| axis + 1).collect();
    let sum = tape.build.reduce_sum(&tangent, &shifted, true);
    let share = tape.share(&x, &axes)?;
    Ok(vec![Some(tape.build.mul(&sum, &share))])
}

/// One share of the cotangent for every position; length 1 along the positions stands for all of them.
pub(super) fn global_average_reverse(
    tape: &mut Tape,
    node: &TapeNode,
    cotangents: Sensitivities<'_>,
) -> RuleResult {
    let Some(c) = &cotangents[0] else { return Ok(Vec::new()) };
    let x = node.x(0);
    let axes: Vec<i64> = (2..tape.rank(&x)? as i64).collect();
    let share = tape.share(&x, &axes)?;
    Ok(vec![Some(tape.build.mul(c, &share))])
}

/// Applies a node to tangents of its first input, which have the directions in front of the batch.
fn on_images(tape: &mut Tape, node: &TapeNode, tangent: &Value, others: &[&Value]) -> Result<Value> {
    let axes: Vec<i64> = (1..tape.rank(&node.x(0))? as i64).collect();
    let tangent = tape.full_along(tangent, &node.x(0), &axes)?;
    let whole = tape.build.shape(&tangent);
    let image = tail(tape, &whole, 2);
    let all = tape.build.ints("all", &[-1]);
    let folded_shape = tape.build.concat(&[&all, &image], 0);
    let folded = tape.build.reshape_to(&tangent, &folded_shape);
    let inputs: Vec<&Value> = std::iter::once(&folded).chain(others.iter().copied()).collect();
    let images = tape.build.copy(&node.proto, &inputs, &[]);
    let images = images.into_iter().next().unwrap_or_else(Value::none);
    let (start, end) = (tape.build.ints("start", &[0]), tape.build.ints("end", &[2]));
    let axis = tape.build.ints("axis", &[0]);
    let front = tape.build.op("Slice", &[&whole, &start, &end, &axis], &[]);
    let image = tape.shape(&node.y())?;
    let image = tail(tape, &image, 1);
    let shape = tape.build.concat(&[&front, &image], 0);
    Ok(tape.build.reshape_to(&images, &shape))
}

/// How the windows of a node slide, one per axis after the first two.
fn windows(tape: &mut Tape, node: &TapeNode, sizes: &[i64]) -> Result<Vec<Window>> {
    let lengths = tape.dims(&node.x(0))?;
    let ints = |name: &str, default: i64, count: usize| {
        node.ints(name).filter(|values| values.len() == count).unwrap_or_else(|| vec![default; count])
    };
    let count = sizes.len();
    let (strides, dilations) = (ints("strides", 1, count), ints("dilations", 1, count));
    let pads = ints("pads", 0, 2 * count);
    let auto = node.text("auto_pad");
    let mut windows = Vec::with_capacity(count);
    for (at, &size) in sizes.iter().enumerate() {
        let (stride, dilation) = (strides[at].max(1), dilations[at]);
        let pads = match auto.as_str() {
            "" | "NOTSET" => (pads[at], pads[at + count]),
            "VALID" => (0, 0),
            same => {
                let length = lengths.get(at + 2).and_then(|length| length.fixed()).ok_or_else(|| {
                    node.refuse(format!("its auto_pad is {same}, which needs images of a fixed size"))
                })?;
                let reached = ((length + stride - 1) / stride - 1) * stride + dilation * (size - 1) + 1;
                let total = (reached - length).max(0);
                let half = total / 2;
                if same == "SAME_LOWER" { (total - half, half) } else { (half, total - half) }
            }
        };
        windows.push(Window { size, stride, dilation, pads });
    }
    Ok(windows)
}

/// A cotangent divided by the number of elements of the window that each of its elements averages.
fn shares(tape: &mut Tape, node: &TapeNode, c: &Value, windows: &[Window]) -> Result<Value> {
    let padded = windows.iter().any(|window| window.pads != (0, 0));
    if !padded || node.int("count_include_pad", 0) != 0 {
        let whole: i64 = windows.iter().map(|window| window.size).product();
        let share = tape.number(1.0 / whole as f64, c)?;
        return Ok(tape.build.mul(c, &share));
    }
    let lengths = tape.dims(&node.x(0))?;
    let dtype = tape.dtype(c);
    let mut shares = c.clone();
    for (at, window) in windows.iter().enumerate() {
        let length = lengths.get(at + 2).and_then(|length| length.fixed());
        let length = length.ok_or_else(|| {
            node.refuse("it leaves padding out of its means, which needs images of a fixed size")
        })?;
        let counts: Vec<f32> = window.counts(length).into_iter().map(|count| count as f32).collect();
        let mut shape = vec![1; lengths.len()];
        shape[at + 2] = counts.len();
        let counts = tape.build.constant("counts", Tensor::f32(&shape, counts)?);
        let counts = if dtype == DType::F32 { counts } else { tape.build.cast(&counts, dtype) };
        shares = tape.build.div(&shares, &counts);
    }
    Ok(shares)
}

impl Window {
    /// How many elements of an axis of this length each position of the window covers, without padding.
    fn counts(&self, length: i64) -> Vec<i64> {
        let padded = length + self.pads.0 + self.pads.1;
        let positions = (padded - self.dilation * (self.size - 1) - 1) / self.stride + 1;
        let covered = |position: i64| {
            let start = position * self.stride - self.pads.0;
            (0..self.size).filter(|at| (0..length).contains(&(start + at * self.dilation))).count() as i64
        };
        (0..positions).map(|position| covered(position).max(1)).collect()
    }
}

/// The transposed convolution of `c`, cut to the lengths of `x` along the axes after the first two.
fn spread(
    tape: &mut Tape,
    c: &Value,
    kernel: &Value,
    windows: &[Window],
    group: i64,
    x: &Value,
) -> Result<Value> {
    let of = |field: fn(&Window) -> i64| windows.iter().map(field).collect::<Vec<i64>>();
    let attributes = [
        ("strides", Attr::Ints(of(|window| window.stride))),
        ("dilations", Attr::Ints(of(|window| window.dilation))),
        ("group", Attr::Int(group)),
    ];
    let full = tape.build.op("ConvTranspose", &[c, kernel], &attributes);
    // A negative padding removes elements. What lies behind the last window gets zeros.
    let before = tape.build.ints("before", &of(|window| -window.pads.0));
    let (wanted, given) = (tape.shape(x)?, tape.build.shape(&full));
    let (wanted, given) = (tail(tape, &wanted, 2), tail(tape, &given, 2));
    let after = tape.build.sub(&wanted, &given);
    let after = tape.build.sub(&after, &before);
    let none = tape.build.ints("none", &[0, 0]);
    let pads = tape.build.concat(&[&none, &before, &none, &after], 0);
    Ok(tape.build.op("Pad", &[&full, &pads], &[]))
}
