//! SigLIP's loss: every pair of rows is classified by itself as matching or not.
//!
//! `mean_i sum_j softplus(l_ij) - mean_i l_ii` with `l_ij = a_i b_j' / tau + bias`, which is
//! `-log sigmoid` of each logit with its sign. With a mask j runs over i and its negatives (see
//! [`infonce`](super::infonce())), and the loss is the mean of both directions. Source: Zhai et al. 2023
//! (arXiv 2303.15343), equation 1.

use chiasm_plugin::graph::{Builder, Value};

use super::infonce::sharpened;
use super::{PairMask, TermBatch, mean, products, row_dots};

/// The mean over the pairs of modalities, at the batch's temperature and bias.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, [first, second]| {
        let mask = batch.pair_mask(b, [first, second]);
        let scalars = [batch.log_tau, batch.bias];
        siglip(b, &batch.mapped[first], &batch.mapped[second], scalars, mask.as_ref())
    })
}

/// SigLIP's loss of unit rows `[batch, k]` at temperature `e^log_tau`.
pub fn siglip(
    b: &mut Builder,
    first: &Value,
    second: &Value,
    [log_tau, bias]: [&Value; 2],
    mask: Option<&PairMask>,
) -> Value {
    let scaled = sharpened(b, first, log_tau);
    let logits = products(b, &scaled, second);
    let logits = b.add(&logits, bias);
    let losses = b.op("Softplus", &[&logits], &[]);
    let own = row_dots(b, &scaled, second);
    let own = b.add(&own, bias);
    let Some(mask) = mask else {
        let all = b.reduce_sum(&losses, &[-1], false);
        let all = mean(b, &all);
        let own = mean(b, &own);
        return b.sub(&all, &own);
    };
    let own = b.neg(&own);
    let own = b.op("Softplus", &[&own], &[]);
    let own = mask.mean(b, &own);
    let [forward, backward] = [0, 1].map(|direction| {
        let negatives = b.mul(&losses, &mask.negatives[direction]);
        let negatives = b.reduce_sum(&negatives, &[1 - direction as i64], false);
        mask.mean(b, &negatives)
    });
    let both = b.add(&forward, &backward);
    let both = b.mul_scalar(&both, 0.5);
    b.add(&both, &own)
}
