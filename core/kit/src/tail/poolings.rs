//! Poolings over tokens `[B,T,D]` with a mask `[B,T]`.

use chiasm_plugin::Result;
use chiasm_plugin::graph::{Builder, DType, Tensor, Value};

/// The names of the poolings over tokens, as the documentation of [`crate::tail`] defines them.
pub const POOLINGS: [&str; 8] =
    ["mean", "cls", "max", "std", "gem3", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"];

/// Applies the pooling called `name`, one of [`POOLINGS`].
pub(super) fn pool(b: &mut Builder, name: &str, tokens: &Value, mask: &Value) -> Result<Value> {
    Ok(match name {
        "mean" => b.mean_pool(tokens, mask),
        "cls" => b.cls_pool(tokens),
        "max" => largest(b, tokens, mask),
        "std" => deviation(b, tokens, mask),
        "lasttoken" => last(b, tokens, mask)?,
        "weightedmean" => weighted_mean(b, tokens, mask)?,
        "mean_sqrt_len_tokens" => {
            let mean = b.mean_pool(tokens, mask);
            let count = b.reduce_sum(mask, &[1], true);
            let root = b.sqrt(&count);
            b.mul(&mean, &root)
        }
        _ => {
            let x = b.max_scalar(tokens, 1e-6);
            let square = b.mul(&x, &x);
            let cube = b.mul(&square, &x);
            let mean = b.mean_pool(&cube, mask);
            b.pow(&mean, 1.0 / 3.0)
        }
    })
}

/// Returns the largest value of each feature among the tokens that are not masked.
fn largest(b: &mut Builder, tokens: &Value, mask: &Value) -> Value {
    let mask = b.unsqueeze(mask, &[2]);
    let admitted = b.cast(&mask, DType::Bool);
    let lowest = b.scalar(f32::MIN);
    let shown = b.where_(&admitted, tokens, &lowest);
    // Global pooling, because ReduceMax takes its axes in another form since opset 18.
    let by_feature = b.transpose(&shown, &[0, 2, 1]);
    let largest = b.op("GlobalMaxPool", &[&by_feature], &[]);
    b.squeeze(&largest, &[2])
}

/// Returns the standard deviation of each feature over the tokens that are not masked.
fn deviation(b: &mut Builder, tokens: &Value, mask: &Value) -> Value {
    let mean = b.mean_pool(tokens, mask);
    let mean = b.unsqueeze(&mean, &[1]);
    let centred = b.sub(tokens, &mean);
    let squares = b.mul(&centred, &centred);
    let variance = b.mean_pool(&squares, mask);
    b.sqrt(&variance)
}

/// Returns the place of each token among those that are not masked, from 1; 0 for masked ones.
///
/// It depends on the item only, not on the padding at either end.
fn places(b: &mut Builder, mask: &Value) -> Result<Value> {
    let axis = b.constant("axis", Tensor::i64(&[], vec![1])?);
    let count = b.op("CumSum", &[mask, &axis], &[]);
    Ok(b.mul(&count, mask))
}

/// Returns the last token that is not masked.
fn last(b: &mut Builder, tokens: &Value, mask: &Value) -> Result<Value> {
    let places = places(b, mask)?;
    let count = b.reduce_sum(mask, &[1], true);
    let chosen = b.op("Equal", &[&places, &count], &[]);
    let chosen = b.unsqueeze(&chosen, &[2]);
    let zero = b.scalar(0.0);
    let shown = b.where_(&chosen, tokens, &zero);
    Ok(b.reduce_sum(&shown, &[1], false))
}

/// Returns the mean of the tokens that are not masked, weighted by their places.
fn weighted_mean(b: &mut Builder, tokens: &Value, mask: &Value) -> Result<Value> {
    let places = places(b, mask)?;
    let row = b.unsqueeze(&places, &[1]);
    let sum = b.matmul(&row, tokens);
    let sum = b.squeeze(&sum, &[1]);
    let total = b.reduce_sum(&places, &[1], true);
    let total = b.max_scalar(&total, 1.0);
    Ok(b.div(&sum, &total))
}
