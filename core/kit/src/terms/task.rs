//! The task: items of one class score higher with each other than with items of other classes.
//!
//! ```text
//! a to b:  sum_i w_i (log sum_j exp(s_ij) - mean_{j: y_j = y_i} s_ij) / sum_i w_i,    s = a b' / tau
//! ```
//!
//! over the items j of b in the batch, the mean of both directions and of the pairs of modalities. w_i is the
//! weight of example i where it has a label y_i, holds an item of a, and an item of its class is in the
//! batch, and 0 elsewhere. Items without a label are negatives only. It is the supervised contrastive loss
//! (Khosla et al. 2020, arXiv 2004.11362, equation 2) between modalities, a classifier whose class vectors
//! are the items of the class; so nothing has to be learned beside the maps. It stands for L_task of GOTMA,
//! whose text leaves the loss open.

use chiasm_plugin::graph::{Builder, DType, Value};

use super::infonce::{log_sum_exp, sharpened};
use super::{TermBatch, products, weighted_mean};

/// Subtracted from the score of an absent item: far larger than any score.
const HIDDEN: f32 = 1e9;

/// The mean over the pairs of modalities; 0 without labels.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    let Some(labels) = batch.labels else { return b.scalar(0.0) };
    let known = {
        let least = b.ints("first_class", &[0]);
        let known = b.op("GreaterOrEqual", &[labels, &least], &[]);
        b.cast(&known, DType::F32)
    };
    let same = {
        let (column, row) = (b.unsqueeze(labels, &[1]), b.unsqueeze(labels, &[0]));
        let same = b.op("Equal", &[&column, &row], &[]);
        let same = b.cast(&same, DType::F32);
        let known = b.unsqueeze(&known, &[0]);
        b.mul(&same, &known)
    };
    batch.mean_over_pairs(b, |b, [first, second]| {
        let scaled = sharpened(b, &batch.mapped[first], batch.log_tau);
        let scores = products(b, &scaled, &batch.mapped[second]);
        let turned = b.transpose(&scores, &[1, 0]);
        let forward = one_way(b, batch, &scores, [&known, &same], [first, second]);
        let backward = one_way(b, batch, &turned, [&known, &same], [second, first]);
        let both = b.add(&forward, &backward);
        b.mul_scalar(&both, 0.5)
    })
}

/// The loss of scores `[batch of own, batch of other]`.
fn one_way(
    b: &mut Builder,
    batch: &TermBatch<'_>,
    scores: &Value,
    [known, same]: [&Value; 2],
    [own, other]: [usize; 2],
) -> Value {
    let (mut scores, mut same, mut weights) = (scores.clone(), same.clone(), known.clone());
    let mut candidates = scores.clone();
    if let Some(mask) = batch.mask {
        let present = b.unsqueeze(&mask.present[other], &[0]);
        let hidden = b.add_scalar(&present, -1.0);
        let hidden = b.mul_scalar(&hidden, HIDDEN);
        candidates = b.add(&candidates, &hidden);
        same = b.mul(&same, &present);
        weights = b.mul(&weights, &mask.weights);
        weights = b.mul(&weights, &mask.present[own]);
    }
    let all = log_sum_exp(b, &candidates, 1);
    scores = b.mul(&scores, &same);
    let (sum, count) = (b.reduce_sum(&scores, &[1], false), b.reduce_sum(&same, &[1], false));
    let (least, some) = (b.max_scalar(&count, 1.0), b.sign(&count));
    let alike = b.div(&sum, &least);
    let weights = b.mul(&weights, &some);
    let loss = b.sub(&all, &alike);
    weighted_mean(b, &loss, &weights)
}
