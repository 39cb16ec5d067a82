//! Riemannian consistency: neighbours in one modality are as far apart along the other modality's manifold.
//!
//! ```text
//! sum_i w_i sum_{j in N_k(i)} (d(x_i, x_j) - d(y_i, y_j))² / k
//! ```
//!
//! with the k nearest neighbours in either modality in turn. d is the length of the shortest path whose steps
//! go to one of a row's k nearest neighbours, at most 4 steps and the shorter of both directions, and the
//! Euclidean distance where there is no such path. The derivative holds the ratio of the path's length to the
//! Euclidean distance constant. It is L_RC of GOTMA (section 2.2.3).

use chiasm_plugin::graph::{Builder, DType, Value};

use super::neighbours::{FAR, nearest};
use super::{TermBatch, inner, roots, row_sums, squared_distances};

/// The most steps of a path.
const STEPS: usize = 4;

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let [x, y] = rows.items.each_ref().map(|items| manifold(b, items, &rows.others, batch.settings.k));
        let apart = b.sub(&x.geodesics, &y.geodesics);
        let squares = b.mul(&apart, &apart);
        let both = b.add(&x.adjacency, &y.adjacency);
        let products = b.mul(&squares, &both);
        let sums = row_sums(b, &products);
        let sum = inner(b, &sums, &rows.weights);
        #[expect(clippy::cast_precision_loss, reason = "a few neighbours")]
        b.mul_scalar(&sum, 0.5 / batch.settings.k as f32)
    })
}

/// A modality's neighbours and the distances along them, `[n, n]`.
struct Manifold {
    adjacency: Value,
    geodesics: Value,
}

fn manifold(b: &mut Builder, items: &Value, others: &Value, k: usize) -> Manifold {
    let squares = squared_distances(b, items, items);
    let distances = roots(b, &squares);
    let near = nearest(b, &distances, others, k);
    let adjacency = near.adjacency(b, &distances, others);
    let still = b.stop_gradient(&distances);
    // the distance where there is a step, FAR elsewhere
    let missing = b.neg(&adjacency);
    let missing = b.add_scalar(&missing, 1.0);
    let missing = b.mul_scalar(&missing, FAR);
    let steps = b.add(&still, &missing);
    let mut paths = shorter_direction(b, &steps);
    let first = b.unsqueeze(&near.distances, &[2]);
    for _ in 1..STEPS {
        let onward = b.gather(&paths, &near.places, 0);
        let through = b.add(&onward, &first);
        let axes: &[i64] = &[1];
        let best = b.op("ReduceMin", &[&through], &[("axes", axes.into()), ("keepdims", 0.into())]);
        let best = b.op("Min", &[&best, &paths], &[]);
        paths = shorter_direction(b, &best);
    }
    let limit = b.scalar(FAR / 2.0);
    let reached = b.op("Less", &[&paths, &limit], &[]);
    let paths = b.where_(&reached, &paths, &still);
    let positive = b.max_scalar(&still, 1e-9);
    let detour = b.div(&paths, &positive);
    let reached = b.cast(&reached, DType::F32);
    let detour = b.mul(&detour, &reached);
    let direct = b.neg(&reached);
    let direct = b.add_scalar(&direct, 1.0);
    let detour = b.add(&detour, &direct);
    let detour = b.stop_gradient(&detour);
    Manifold { adjacency, geodesics: b.mul(&distances, &detour) }
}

fn shorter_direction(b: &mut Builder, lengths: &Value) -> Value {
    let back = b.transpose(lengths, &[1, 0]);
    b.op("Min", &[lengths, &back], &[])
}
