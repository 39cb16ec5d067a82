//! The covariance term: items have the same local covariance in both modalities.
//!
//! ```text
//! sum_i w_i Tr[(S_i - T_i) (log S_i - log T_i)] / 2
//! ```
//!
//! S_i and T_i are the covariances of item i and its k nearest neighbours in either modality, on the same 8
//! random directions, divided by their traces and shrunk: `S = 3/4 C / tr C + 1/4 I / 8`. The term of "Hybrid
//! OT + Riemannian" is `Tr(S log T)`; by itself it has no lower bound at S = T, so this is the symmetric von
//! Neumann divergence built from it, which is 0 exactly there (Dhillon and Tropp 2007, section 2.4).
//!
//! The logarithm needs matrix products only. The eigenvalues lie in [a, b] = [1/32, 25/32], where the
//! Chebyshev series of the logarithm is `2 log((√a + √b) / 2) + 2 sum_n (-1)^(n+1) qⁿ T_n / n` with
//! `q = (√b - √a) / (√b + √a) = 2/3`; sixteen terms leave an error below 4e-4.

use chiasm_geometry::random::Random;
use chiasm_plugin::graph::{Builder, Tensor, Value};

use super::neighbours::nearest;
use super::{TermBatch, inner, roots, squared_distances};

/// Directions of a covariance.
const DIRECTIONS: usize = 8;
/// The share of the identity in a shrunk covariance.
const SHRINKAGE: f32 = 0.25;
/// Terms of the Chebyshev series.
const TERMS: i32 = 16;

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    let directions = directions(b, batch.width);
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let [s, t] = rows.items.each_ref().map(|items| {
            let squares = squared_distances(b, items, items);
            let distances = roots(b, &squares);
            let near = nearest(b, &distances, &rows.others, batch.settings.k);
            let projected = b.matmul(items, &directions);
            let covariance = local_covariances(b, &projected, &near.places);
            let logarithm = log(b, &covariance);
            [covariance, logarithm]
        });
        let [matrices, logarithms] = [0, 1].map(|part| b.sub(&s[part], &t[part]));
        let products = b.mul(&matrices, &logarithms);
        let traces = b.reduce_sum(&products, &[1, 2], false);
        let sum = inner(b, &traces, &rows.weights);
        b.mul_scalar(&sum, 0.5)
    })
}

/// Eight random unit directions `[width, 8]`, always the same ones for a width.
fn directions(b: &mut Builder, width: usize) -> Value {
    let mut random = Random::new(8);
    let scale = (width as f64).sqrt().recip();
    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    let values = (0..width * DIRECTIONS).map(|_| (random.normal() * scale) as f32).collect();
    match Tensor::f32(&[width, DIRECTIONS], values) {
        Ok(tensor) => b.constant("directions", tensor),
        Err(_) => Value::none(),
    }
}

/// Covariances of the rows at these places, shrunk and of trace one, `[n, 8, 8]`.
fn local_covariances(b: &mut Builder, rows: &Value, places: &Value) -> Value {
    let near = b.gather(rows, places, 0);
    let own = b.unsqueeze(rows, &[1]);
    let all = b.concat(&[&own, &near], 1);
    let axes: &[i64] = &[1];
    let centre = b.op("ReduceMean", &[&all], &[("axes", axes.into()), ("keepdims", 1.into())]);
    let centred = b.sub(&all, &centre);
    let turned = b.transpose(&centred, &[0, 2, 1]);
    let covariances = b.matmul(&turned, &centred);
    let squares = b.mul(&centred, &centred);
    let trace = b.reduce_sum(&squares, &[1, 2], true);
    let trace = b.max_scalar(&trace, 1e-12);
    let unit = b.div(&covariances, &trace);
    let unit = b.mul_scalar(&unit, 1.0 - SHRINKAGE);
    let identity = identity(b, SHRINKAGE / DIRECTIONS as f32);
    b.add(&unit, &identity)
}

/// A multiple of the identity, `[8, 8]`.
fn identity(b: &mut Builder, scale: f32) -> Value {
    let mut values = vec![0.0; DIRECTIONS * DIRECTIONS];
    (0..DIRECTIONS).for_each(|at| values[at * (DIRECTIONS + 1)] = scale);
    match Tensor::f32(&[DIRECTIONS, DIRECTIONS], values) {
        Ok(tensor) => b.constant("identity", tensor),
        Err(_) => Value::none(),
    }
}

/// The logarithm of matrices whose eigenvalues lie in [1/32, 25/32], by its Chebyshev series.
fn log(b: &mut Builder, x: &Value) -> Value {
    let (low, high) = (f64::from(SHRINKAGE) / DIRECTIONS as f64, 1.0 - f64::from(SHRINKAGE) * 7.0 / 8.0);
    let q = (high.sqrt() - low.sqrt()) / (high.sqrt() + low.sqrt());
    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    let [slope, shift, constant] =
        [2.0 / (high - low), -(high + low) / (high - low), 2.0 * ((low.sqrt() + high.sqrt()) / 2.0).ln()]
            .map(|x| x as f32);
    // y has its eigenvalues in [-1, 1]; T_n+1 = 2 y T_n - T_n-1
    let scaled = b.mul_scalar(x, slope);
    let shifted = identity(b, shift);
    let y = b.add(&scaled, &shifted);
    let double = b.mul_scalar(&y, 2.0);
    let (mut before, mut current) = (identity(b, 1.0), y);
    let mut sum = identity(b, constant);
    for n in 1..=TERMS {
        #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
        let coefficient = (-2.0 * (-q).powi(n) / f64::from(n)) as f32;
        let part = b.mul_scalar(&current, coefficient);
        sum = b.add(&sum, &part);
        let next = b.matmul(&double, &current);
        let next = b.sub(&next, &before);
        (before, current) = (current, next);
    }
    sum
}
