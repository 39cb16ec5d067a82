//! Losses of paired rows as pieces of a graph: unit rows `a [batch, k]` and `b [batch, k]`, row i of one belongs to row i of the other.

use chiasm_plugin::graph::{Builder, Value};

/// Mean over all elements, a scalar.
pub fn mean(b: &mut Builder, x: &Value) -> Value {
    b.op("ReduceMean", &[x], &[("keepdims", 0.into())])
}

/// The cosines of pairs, `[batch]`.
fn own(b: &mut Builder, first: &Value, second: &Value) -> Value {
    let products = b.mul(first, second);
    b.reduce_sum(&products, &[-1], false)
}

/// All scores, `[batch, batch]`.
fn scores(b: &mut Builder, first: &Value, second: &Value) -> Value {
    let turned = b.transpose(second, &[1, 0]);
    b.matmul(first, &turned)
}

/// Symmetric InfoNCE (van den Oord et al. 2018; CLIP's form): cross-entropy of each row's partner among the batch, both ways,
/// at temperature `e^log_temperature`.
pub fn infonce(b: &mut Builder, first: &Value, second: &Value, log_temperature: &Value) -> Value {
    let sharpness = b.neg(log_temperature);
    let sharpness = b.exp(&sharpness);
    // scaling the rows and not their products saves a pass over [batch, batch]
    let scaled = b.mul(first, &sharpness);
    let logits = scores(b, &scaled, second);
    let [forward, backward] = [1, 0].map(|axis| {
        let axes: &[i64] = &[axis];
        let all = b.op("ReduceLogSumExp", &[&logits], &[("axes", axes.into()), ("keepdims", 0.into())]);
        mean(b, &all)
    });
    let both = b.add(&forward, &backward);
    let both = b.mul_scalar(&both, 0.5);
    let pairs = own(b, &scaled, second);
    let pairs = mean(b, &pairs);
    b.sub(&both, &pairs)
}

/// SigLIP's loss (Zhai et al. 2023): every pair of rows is told true or false by itself, with logit `cosine / temperature + bias`.
///
/// `mean_i sum_j softplus(logit_ij) - mean_i logit_ii`, which is `-log sigmoid` of each logit with its sign.
pub fn siglip(
    b: &mut Builder,
    first: &Value,
    second: &Value,
    log_temperature: &Value,
    bias: &Value,
) -> Value {
    let sharpness = b.neg(log_temperature);
    let sharpness = b.exp(&sharpness);
    let scaled = b.mul(first, &sharpness);
    let logits = scores(b, &scaled, second);
    let logits = b.add(&logits, bias);
    let told = b.op("Softplus", &[&logits], &[]);
    let told = b.reduce_sum(&told, &[-1], false);
    let told = mean(b, &told);
    let pairs = own(b, &scaled, second);
    let pairs = b.add(&pairs, bias);
    let pairs = mean(b, &pairs);
    b.sub(&told, &pairs)
}

/// Mean squared distance of pairs.
pub fn squared(b: &mut Builder, first: &Value, second: &Value) -> Value {
    let apart = b.sub(first, second);
    let squares = b.mul(&apart, &apart);
    let lengths = b.reduce_sum(&squares, &[-1], false);
    mean(b, &lengths)
}

/// `weight * term` added to a loss.
pub fn plus(b: &mut Builder, loss: &Value, weight: f64, term: &Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    let weighted = b.mul_scalar(term, weight as f32);
    b.add(loss, &weighted)
}
