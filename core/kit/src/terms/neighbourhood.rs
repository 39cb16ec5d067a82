//! Neighbourhood preservation: each item has the same soft neighbours in both modalities.
//!
//! ```text
//! sum_i w_i (1 - corr_j(p_ij, q_ij)),   p_ij = softmax_j(-|x_i - x_j|² / s_i²),  j != i
//! ```
//!
//! q are the same for the other modality, and s_i² is the mean squared distance to the k nearest neighbours.
//! It is the loss L_Neigh of "Explicit Geometric Alignment" (section 3.2.2), with the soft neighbours of
//! stochastic neighbour embedding (Hinton and Roweis 2002). Their divergence is also low for two clouds
//! without neighbours, in which all items are equally far, and training goes there; the correlation of the
//! shares is high only for equal neighbours.

use chiasm_plugin::graph::{Builder, Value};

use super::neighbours::{FAR, nearest};
use super::{TermBatch, inner, row_dots, squared_distances};

/// Below this a sum of squares counts as this.
const TINY: f32 = 1e-12;

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let [p, q] = rows.items.each_ref().map(|items| {
            let squares = squared_distances(b, items, items);
            let logarithms = log_neighbours(b, &squares, &rows.others, batch.settings.k);
            let shares = b.exp(&logarithms);
            centred(b, &shares, &rows.others)
        });
        let [across, own, other] = [(&p, &q), (&p, &p), (&q, &q)].map(|(x, y)| row_dots(b, x, y));
        let scale = b.mul(&own, &other);
        let scale = b.max_scalar(&scale, TINY);
        let scale = b.sqrt(&scale);
        let correlation = b.div(&across, &scale);
        let unlike = b.neg(&correlation);
        let unlike = b.add_scalar(&unlike, 1.0);
        inner(b, &unlike, &rows.weights)
    })
}

/// The shares of the candidates less their mean, and 0 elsewhere.
fn centred(b: &mut Builder, shares: &Value, others: &Value) -> Value {
    let shares = b.mul(shares, others);
    let sum = b.reduce_sum(&shares, &[1], true);
    let count = b.reduce_sum(others, &[1], true);
    let count = b.max_scalar(&count, 1.0);
    let mean = b.div(&sum, &count);
    let shares = b.sub(&shares, &mean);
    b.mul(&shares, others)
}

/// The logarithms of the shares of the other rows as neighbours, `[n, n]`.
fn log_neighbours(b: &mut Builder, squares: &Value, others: &Value, k: usize) -> Value {
    let near = nearest(b, squares, others, k);
    let adjacency = near.adjacency(b, squares, others);
    let spread = b.mul(&adjacency, squares);
    let spread = b.reduce_sum(&spread, &[1], true);
    #[expect(clippy::cast_precision_loss, reason = "a few neighbours")]
    let spread = b.mul_scalar(&spread, (k as f32).recip());
    let spread = b.max_scalar(&spread, 1e-9);
    let scores = b.div(squares, &spread);
    let scores = b.neg(&scores);
    let hidden = b.add_scalar(others, -1.0);
    let hidden = b.mul_scalar(&hidden, FAR);
    let scores = b.add(&scores, &hidden);
    b.op("LogSoftmax", &[&scores], &[("axis", (-1).into())])
}
