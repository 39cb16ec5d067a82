//! Riemannian consistency: neighbours in one modality are as far apart along the other modality's manifold.
//!
//! ```text
//! 1 - corr_{i, j in N_k(i)} (d(x_i, x_j), d(y_i, y_j))
//! ```
//!
//! over the k nearest neighbours in either modality in turn. d is the length of the shortest path whose steps
//! go to one of a row's k nearest neighbours, at most 4 steps and the shorter of both directions, and the
//! Euclidean distance where there is no such path. The derivative holds the ratio of the path's length to the
//! Euclidean distance constant. L_RC of GOTMA (section 2.2.3) is the mean squared difference of these
//! distances, which two clouds whose neighbours are all equally far also minimise; the squared difference of
//! standardised distances, twice the value here, is low for equal geometry only.

use chiasm_plugin::graph::{Builder, DType, Value};

use super::neighbours::{FAR, nearest};
use super::{TermBatch, inner, roots, squared_distances, total};

/// A variance or a weight below this counts as this.
const TINY: f32 = 1e-12;
/// The most steps of a path.
const STEPS: usize = 4;

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let [x, y] = rows.items.each_ref().map(|items| manifold(b, items, &rows.others, batch.settings.k));
        let both = b.add(&x.adjacency, &y.adjacency);
        let weights = b.unsqueeze(&rows.weights, &[1]);
        let weights = b.mul(&both, &weights);
        let count = total(b, &weights);
        let count = b.max_scalar(&count, TINY);
        let weights = b.div(&weights, &count);
        let [x, y] = [&x, &y].map(|manifold| {
            let mean = inner(b, &manifold.geodesics, &weights);
            b.sub(&manifold.geodesics, &mean)
        });
        let mut moment = |x: &Value, y: &Value| {
            let products = b.mul(x, y);
            inner(b, &products, &weights)
        };
        let (across, own, other) = (moment(&x, &y), moment(&x, &x), moment(&y, &y));
        let scale = b.mul(&own, &other);
        let scale = b.max_scalar(&scale, TINY);
        let scale = b.sqrt(&scale);
        let correlation = b.div(&across, &scale);
        let unlike = b.neg(&correlation);
        b.add_scalar(&unlike, 1.0)
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
