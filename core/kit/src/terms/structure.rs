//! The STRUCTURE regulariser: a map keeps the similarities between the items of its modality.
//!
//! ```text
//! sum_l JS(P^l, Q^l) / l,    P = softmax(u u' / t),  Q = softmax(z z' / t)
//! ```
//!
//! over the levels l = 1, 2 and the modalities; the powers compare similarities along paths of l steps. u are
//! the centred unit vectors before the map, z the unit vectors after it, t is 0.1, JS is the mean over the
//! rows of the Jensen-Shannon divergence. Source: STRUCTURE (arXiv 2506.16895, section 3.3).

use chiasm_plugin::graph::{Builder, Value};

use super::{TermBatch, inner, products, row_sums};

/// The temperature of the similarities.
const TEMPERATURE: f32 = 0.1;
/// Levels.
const LEVELS: usize = 2;
/// Below this a probability counts as this.
const TINY: f32 = 1e-12;

/// The mean over the modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_modalities(b, |b, modality| {
        let rows = batch.modality_rows(b, &[&batch.source[modality], &batch.mapped[modality]], modality);
        let [before, after] = [0, 1].map(|at| {
            let unit = b.l2_normalise(&rows.items[at], -1, crate::LEAST_LENGTH);
            similarities(b, &unit, &rows.weights)
        });
        let (mut p, mut q) = (before.clone(), after.clone());
        let mut sum = divergence(b, &p, &q, &rows.weights);
        for level in 2..=LEVELS {
            (p, q) = (b.matmul(&p, &before), b.matmul(&q, &after));
            let term = divergence(b, &p, &q, &rows.weights);
            #[expect(clippy::cast_precision_loss, reason = "a few levels")]
            let term = b.mul_scalar(&term, (level as f32).recip());
            sum = b.add(&sum, &term);
        }
        sum
    })
}

/// Row-wise softmax of the similarities to rows that have a weight.
fn similarities(b: &mut Builder, rows: &Value, weights: &Value) -> Value {
    let scores = products(b, rows, rows);
    let scores = b.mul_scalar(&scores, TEMPERATURE.recip());
    let held = b.sign(weights);
    let hidden = b.add_scalar(&held, -1.0);
    let hidden = b.mul_scalar(&hidden, 1e6);
    let hidden = b.unsqueeze(&hidden, &[0]);
    let scores = b.add(&scores, &hidden);
    b.softmax(&scores, -1)
}

/// The mean of `(KL(p | m) + KL(q | m)) / 2` over rows, `m = (p + q) / 2`.
fn divergence(b: &mut Builder, p: &Value, q: &Value, weights: &Value) -> Value {
    let middle = b.add(p, q);
    let middle = b.mul_scalar(&middle, 0.5);
    let middle = b.max_scalar(&middle, TINY);
    let middle = b.log(&middle);
    let sums = [p, q].map(|share| {
        let positive = b.max_scalar(share, TINY);
        let logarithm = b.log(&positive);
        let ratio = b.sub(&logarithm, &middle);
        let products = b.mul(share, &ratio);
        let sums = row_sums(b, &products);
        inner(b, &sums, weights)
    });
    let sum = b.add(&sums[0], &sums[1]);
    b.mul_scalar(&sum, 0.5)
}
