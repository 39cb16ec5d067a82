//! Sums over the entries of plans, and updates of them.

use ndarray::{Array1, Array2, ArrayView1, Zip};

use crate::{simd, tasks::ONE_TASK};

/// Changes each entry of `x` by the entry of `y` at the same place.
pub(super) fn update(x: &mut Array2<f32>, y: &Array2<f32>, change: impl Fn(&mut f32, &f32) + Sync + Send) {
    let alone = x.len() <= ONE_TASK;
    let zip = Zip::from(x).and(y);
    if alone { zip.for_each(change) } else { zip.par_for_each(change) }
}

/// Returns the sum of `x_ij y_ij` in double precision.
pub(super) fn dot(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    sum_of_rows(x, y, simd::wide_dot)
}

/// Returns the L1 distance of two plans.
pub(super) fn distance(x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    sum_of_rows(x, y, simd::wide_distance)
}

fn sum_of_rows(x: &Array2<f32>, y: &Array2<f32>, sum: fn(&[f32], &[f32]) -> f64) -> f64 {
    let of_rows = |x: ArrayView1<'_, f32>, y: ArrayView1<'_, f32>| match (x.to_slice(), y.to_slice()) {
        (Some(x), Some(y)) => sum(x, y),
        _ => sum(&x.to_vec(), &y.to_vec()),
    };
    let rows = Zip::from(x.rows()).and(y.rows());
    let sums = if x.len() <= ONE_TASK { rows.map_collect(of_rows) } else { rows.par_map_collect(of_rows) };
    sums.sum()
}

/// Returns the mass of each row and of each column.
pub(super) fn masses(plan: &Array2<f32>) -> [Array1<f64>; 2] {
    let mass = |lane: ArrayView1<'_, f32>| lane.iter().map(|&p| f64::from(p)).sum::<f64>();
    [plan.rows(), plan.columns()].map(|lanes| {
        let lanes = Zip::from(lanes);
        if plan.len() <= ONE_TASK { lanes.map_collect(mass) } else { lanes.par_map_collect(mass) }
    })
}

/// Returns the entropy of a plan relative to the product of the weights, `KL(T | a b^T)`.
pub(super) fn entropy(plan: &Array2<f32>, a: &[f64], b: &[f64]) -> f64 {
    let of_row = |row: ArrayView1<'_, f32>, a: &f64| {
        let entries = row.into_iter().zip(b).filter(|(p, _)| **p > 0.0);
        entries.map(|(&p, b)| f64::from(p) * (f64::from(p) / (a * b)).ln()).sum::<f64>()
    };
    let rows = Zip::from(plan.rows()).and(a);
    let sums = if plan.len() <= ONE_TASK { rows.map_collect(of_row) } else { rows.par_map_collect(of_row) };
    sums.sum()
}
