//! Neighbourhood preservation: each item has the same soft neighbours in both modalities.
//!
//! ```text
//! sum_i w_i (KL(p_i | q_i) + KL(q_i | p_i)) / 2,   p_ij = softmax_j(-|x_i - x_j|² / (2 s_i²)),  j != i
//! ```
//!
//! q are the same for the other modality, and s_i is the distance to the k-th neighbour, held constant. It
//! is the loss L_Neigh of "Explicit Geometric Alignment" (section 3.2.2) in the form of stochastic neighbour
//! embedding (Hinton and Roweis 2002).

use chiasm_plugin::graph::{Builder, Value};

use super::neighbours::{FAR, nearest};
use super::{TermBatch, inner, row_sums, squared_distances};

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let [p, q] = rows.items.each_ref().map(|items| {
            let squares = squared_distances(b, items, items);
            log_neighbours(b, &squares, &rows.others, batch.settings.k)
        });
        // KL(p | q) + KL(q | p) = sum (p - q) (log p - log q)
        let difference = b.sub(&p, &q);
        let [own, other] = [&p, &q].map(|logarithms| b.exp(logarithms));
        let shares = b.sub(&own, &other);
        let products = b.mul(&shares, &difference);
        let products = b.mul(&products, &rows.others);
        let sums = row_sums(b, &products);
        let sum = inner(b, &sums, &rows.weights);
        b.mul_scalar(&sum, 0.5)
    })
}

/// The logarithms of the shares of the other rows as neighbours, `[n, n]`.
fn log_neighbours(b: &mut Builder, squares: &Value, others: &Value, k: usize) -> Value {
    let near = nearest(b, squares, others, k);
    let reach = near.reach(b);
    let reach = b.mul_scalar(&reach, 2.0);
    let reach = b.max_scalar(&reach, 1e-9);
    let scores = b.div(squares, &reach);
    let scores = b.neg(&scores);
    let hidden = b.add_scalar(others, -1.0);
    let hidden = b.mul_scalar(&hidden, FAR);
    let scores = b.add(&scores, &hidden);
    b.op("LogSoftmax", &[&scores], &[("axis", (-1).into())])
}
