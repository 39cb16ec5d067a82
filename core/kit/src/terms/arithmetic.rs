//! Means, distances and similarities that several terms share.

use chiasm_plugin::graph::{Builder, Value};

/// A sum of weights below this counts as zero.
const TINY: f32 = 1e-6;
/// A squared distance below this counts as zero, so that the derivative of its root is finite.
const TINY_SQUARE: f32 = 1e-10;

/// Mean over all elements, a scalar.
pub fn mean(b: &mut Builder, x: &Value) -> Value {
    b.op("ReduceMean", &[x], &[("keepdims", 0.into())])
}

/// The mean of values of one shape.
pub fn average(b: &mut Builder, values: &[Value]) -> Value {
    let Some((first, rest)) = values.split_first() else { return Value::none() };
    let sum = rest.iter().fold(first.clone(), |sum, value| b.add(&sum, value));
    if rest.is_empty() {
        return sum;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few values")]
    b.mul_scalar(&sum, (values.len() as f32).recip())
}

/// `weight * term` added to a loss.
pub fn plus(b: &mut Builder, loss: &Value, weight: f64, term: &Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    let weighted = b.mul_scalar(term, weight as f32);
    b.add(loss, &weighted)
}

/// `sum w x / sum w`, both `[batch]`; 0 where the weights are.
pub(crate) fn weighted_mean(b: &mut Builder, x: &Value, weights: &Value) -> Value {
    let products = b.mul(x, weights);
    let sum = b.reduce_sum(&products, &[0], false);
    let total = b.reduce_sum(weights, &[0], false);
    let total = b.max_scalar(&total, TINY);
    b.div(&sum, &total)
}

/// Weights `[n]` divided by their sum; zeros stay zeros.
pub(crate) fn normalised(b: &mut Builder, weights: &Value) -> Value {
    let total = b.reduce_sum(weights, &[0], true);
    let total = b.max_scalar(&total, TINY);
    b.div(weights, &total)
}

/// The sum over all elements, a scalar.
pub(crate) fn total(b: &mut Builder, x: &Value) -> Value {
    b.op("ReduceSum", &[x], &[("keepdims", 0.into())])
}

/// `sum x y` over all elements, a scalar.
pub(crate) fn inner(b: &mut Builder, x: &Value, y: &Value) -> Value {
    let products = b.mul(x, y);
    total(b, &products)
}

/// Sums of the rows of a matrix, `[n]`.
pub(crate) fn row_sums(b: &mut Builder, x: &Value) -> Value {
    b.reduce_sum(x, &[-1], false)
}

/// Dot products of the rows of `x` and `y` that belong together, `[n]`.
pub(crate) fn row_dots(b: &mut Builder, x: &Value, y: &Value) -> Value {
    let products = b.mul(x, y);
    row_sums(b, &products)
}

/// `x yᵀ`.
pub(crate) fn products(b: &mut Builder, x: &Value, y: &Value) -> Value {
    let transposed = b.transpose(y, &[1, 0]);
    b.matmul(x, &transposed)
}

/// Squared Euclidean distances of the rows of `x [n, d]` and `y [m, d]`, `[n, m]`.
pub(crate) fn squared_distances(b: &mut Builder, x: &Value, y: &Value) -> Value {
    let lengths = |b: &mut Builder, rows: &Value, axis: i64| {
        let sums = row_dots(b, rows, rows);
        b.unsqueeze(&sums, &[axis])
    };
    let (own, other) = (lengths(b, x, 1), lengths(b, y, 0));
    let dots = products(b, x, y);
    let dots = b.mul_scalar(&dots, -2.0);
    let sums = b.add(&own, &other);
    let squares = b.add(&sums, &dots);
    b.max_scalar(&squares, 0.0)
}

/// Euclidean distances from their squares; the derivative at 0 is 0.
pub(crate) fn roots(b: &mut Builder, squares: &Value) -> Value {
    let squares = b.max_scalar(squares, TINY_SQUARE);
    b.sqrt(&squares)
}

/// `wᵢ wⱼ` of weights `[n]`, `[n, n]`.
pub(crate) fn outer(b: &mut Builder, first: &Value, second: &Value) -> Value {
    let (column, row) = (b.unsqueeze(first, &[1]), b.unsqueeze(second, &[0]));
    b.mul(&column, &row)
}

/// The first `count` rows of a value, or all if it has fewer.
pub(crate) fn first_rows(b: &mut Builder, x: &Value, count: usize) -> Value {
    first_along(b, x, count, &[0])
}

/// The first `count` entries along these axes.
pub(crate) fn first_along(b: &mut Builder, x: &Value, count: usize, axes: &[i64]) -> Value {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let starts = b.ints("starts", &vec![0; axes.len()]);
    let ends = b.ints("ends", &vec![count; axes.len()]);
    let axes = b.ints("axes", axes);
    b.op("Slice", &[x, &starts, &ends, &axes], &[])
}

/// The mean squared difference of each row's coordinates, `[n]`.
pub(crate) fn mean_square(b: &mut Builder, x: &Value, y: &Value) -> Value {
    let difference = b.sub(x, y);
    mean_of_squares(b, &difference)
}

/// The mean square of each row's coordinates, `[n]`.
pub(crate) fn mean_of_squares(b: &mut Builder, x: &Value) -> Value {
    let squares = b.mul(x, x);
    let axes: &[i64] = &[-1];
    b.op("ReduceMean", &[&squares], &[("axes", axes.into()), ("keepdims", 0.into())])
}
