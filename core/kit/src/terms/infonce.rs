//! InfoNCE: each item is told apart from the other items of the mini-batch.
//!
//! ```text
//! a to b:  sum_i w_i log(1 + sum_{j in N_i} exp(s_ij - s_ii)) / sum_i w_i,    s = a b' / tau
//! ```
//!
//! Without a mask w_i is 1 and the negatives N_i are all other examples. With one, w_i is the weight of
//! example i where it holds both items and 0 elsewhere, and N_i are the examples of other rows that hold an
//! item of b. An absent item therefore is no negative and has no loss, and items of one row are never
//! contrasted. Source: van den Oord et al. 2018 (arXiv 1807.03748), in the symmetric form of CLIP (Radford et
//! al. 2021).

use chiasm_plugin::graph::{Builder, Value};

use super::{PairMask, TermBatch, mean, products, row_dots};

/// The mean over the pairs of modalities, at the batch's temperature.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, [first, second]| {
        let mask = batch.pair_mask(b, [first, second]);
        infonce(b, &batch.mapped[first], &batch.mapped[second], batch.log_tau, mask.as_ref())
    })
}

/// Symmetric InfoNCE of unit rows `[batch, k]` at temperature `e^log_tau`: cross-entropy of each row's
/// partner among the batch, both ways.
pub fn infonce(
    b: &mut Builder,
    first: &Value,
    second: &Value,
    log_tau: &Value,
    mask: Option<&PairMask>,
) -> Value {
    let scaled = sharpened(b, first, log_tau);
    let logits = products(b, &scaled, second);
    let own = row_dots(b, &scaled, second);
    let Some(mask) = mask else {
        let [forward, backward] = [1, 0].map(|axis| {
            let all = log_sum_exp(b, &logits, axis);
            mean(b, &all)
        });
        let both = b.add(&forward, &backward);
        let both = b.mul_scalar(&both, 0.5);
        let own = mean(b, &own);
        return b.sub(&both, &own);
    };
    masked(b, &logits, &own, mask)
}

/// The loss of scores `[batch, batch]` and of those of the pairs, `[batch]`, with a mask.
pub(super) fn masked(b: &mut Builder, logits: &Value, own: &Value, mask: &PairMask) -> Value {
    let [forward, backward] = [0, 1].map(|direction| {
        let hidden = mask.hide(b, logits, direction);
        let others = log_sum_exp(b, &hidden, 1 - direction as i64);
        let above = b.sub(&others, own);
        let missed = b.op("Softplus", &[&above], &[]);
        mask.mean(b, &missed)
    });
    let both = b.add(&forward, &backward);
    b.mul_scalar(&both, 0.5)
}

/// `log sum exp` along an axis of scores, `[batch]`.
pub(super) fn log_sum_exp(b: &mut Builder, scores: &Value, axis: i64) -> Value {
    let axes: &[i64] = &[axis];
    b.op("ReduceLogSumExp", &[scores], &[("axes", axes.into()), ("keepdims", 0.into())])
}

/// Rows over the temperature: scaling the rows and not their products saves a pass over `[batch, batch]`.
pub(super) fn sharpened(b: &mut Builder, rows: &Value, log_tau: &Value) -> Value {
    let sharpness = b.neg(log_tau);
    let sharpness = b.exp(&sharpness);
    b.mul(rows, &sharpness)
}
