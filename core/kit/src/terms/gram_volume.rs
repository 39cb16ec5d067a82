//! The Gram volume: InfoNCE whose score is how little volume the vectors of all modalities span.
//!
//! ```text
//! V_ij = sqrt(det G),   G the Gram matrix of anchor i and the other modalities' vectors of example j
//! loss = InfoNCE of the scores -V / tau, both ways
//! ```
//!
//! Aligned vectors span no volume. With two modalities V is the sine of their angle. Examples that lack a
//! modality have no part. Without an anchor it is the last modality. Source: GRAM (Cicchetti et al. 2024,
//! arXiv 2412.11959, equations 3 to 6).

use chiasm_plugin::graph::{Builder, Value};

use super::infonce::{log_sum_exp, masked};
use super::{PairMask, TermBatch, mean, products, row_dots};

/// Below this a squared volume counts as this, so that the derivative of its root is finite.
const TINY: f32 = 1e-6;

/// The term over all modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    let volumes = volumes(b, batch);
    let sharpness = b.neg(batch.log_tau);
    let sharpness = b.exp(&sharpness);
    let scores = b.mul(&volumes, &sharpness);
    let scores = b.neg(&scores);
    let own = diagonal(b, &scores);
    match complete(b, batch) {
        Some(mask) => masked(b, &scores, &own, &mask),
        None => {
            let [forward, backward] = [1, 0].map(|axis| {
                let all = log_sum_exp(b, &scores, axis);
                mean(b, &all)
            });
            let both = b.add(&forward, &backward);
            let both = b.mul_scalar(&both, 0.5);
            let own = mean(b, &own);
            b.sub(&both, &own)
        }
    }
}

/// `V_ij` of anchor i and the other modalities' vectors of example j, `[batch, batch]`.
fn volumes(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    let anchor = batch.anchor;
    let others: Vec<&Value> =
        batch.mapped.iter().enumerate().filter(|(at, _)| *at != anchor).map(|(_, z)| z).collect();
    // the lower half of the Gram matrix, the anchor last: entries of the others are rows [1, batch], the
    // anchor's [batch, batch]
    let mut gram: Vec<Vec<Value>> = Vec::new();
    for (at, first) in others.iter().enumerate() {
        let dots = others[..=at].iter().map(|second| {
            let dots = row_dots(b, first, second);
            b.unsqueeze(&dots, &[0])
        });
        gram.push(dots.collect());
    }
    let mut last: Vec<Value> = others.iter().map(|other| products(b, &batch.mapped[anchor], other)).collect();
    let own = row_dots(b, &batch.mapped[anchor], &batch.mapped[anchor]);
    last.push(b.unsqueeze(&own, &[1]));
    gram.push(last);
    let determinant = determinant(b, gram);
    let determinant = b.max_scalar(&determinant, TINY);
    b.sqrt(&determinant)
}

/// The determinant of a symmetric matrix of values given by its lower half, by Gaussian elimination: the
/// product of the pivots.
fn determinant(b: &mut Builder, mut lower: Vec<Vec<Value>>) -> Value {
    let mut product = lower[0][0].clone();
    for pivot in 0..lower.len() - 1 {
        let divisor = b.max_scalar(&lower[pivot][pivot], TINY);
        let column: Vec<Value> = lower.iter().skip(pivot + 1).map(|row| row[pivot].clone()).collect();
        for (first, row) in column.iter().zip(lower.iter_mut().skip(pivot + 1)) {
            let factor = b.div(first, &divisor);
            for (second, entry) in column.iter().zip(row.iter_mut().skip(pivot + 1)) {
                let part = b.mul(&factor, second);
                *entry = b.sub(entry, &part);
            }
        }
        product = b.mul(&product, &lower[pivot + 1][pivot + 1]);
    }
    product
}

/// The mask of the examples that hold all modalities.
fn complete(b: &mut Builder, batch: &TermBatch<'_>) -> Option<PairMask> {
    let mask = batch.mask?;
    let all = mask.present.iter().skip(1).fold(mask.present[0].clone(), |all, one| b.mul(&all, one));
    let weights = b.mul(&mask.weights, &all);
    let (rows, columns) = (b.unsqueeze(&all, &[1]), b.unsqueeze(&all, &[0]));
    let negatives = [b.mul(&mask.other_row, &columns), b.mul(&mask.other_row, &rows)];
    Some(PairMask { weights, negatives })
}

/// The diagonal of a square matrix, `[n]`.
fn diagonal(b: &mut Builder, x: &Value) -> Value {
    let shape = b.shape(x);
    let first = b.ints("first", &[0]);
    let count = b.gather(&shape, &first, 0);
    let count = b.squeeze(&count, &[0]);
    let (zero, one) = (b.ints("zero", &[0]), b.ints("one", &[1]));
    let (zero, one) = (b.squeeze(&zero, &[0]), b.squeeze(&one, &[0]));
    let places = b.op("Range", &[&zero, &count, &one], &[]);
    let places = b.unsqueeze(&places, &[1]);
    let entries = b.op("GatherElements", &[x, &places], &[("axis", 1.into())]);
    b.squeeze(&entries, &[1])
}
