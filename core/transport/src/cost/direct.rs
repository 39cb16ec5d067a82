//! Costs in double precision, from differences of points, for problems where single precision is not enough.
//!
//! The error of an entry of an entropic plan is that of `C / epsilon`, relative to the entry. An expanded
//! square `|x|^2 + |y|^2 - 2 <x, y>` has the error of its largest term, which one point far away makes large
//! for all.

use ndarray::Array2;
use rayon::prelude::*;
use std::borrow::Cow;

use super::{Cost, CostForm, PointCost};

/// The largest error of `C / epsilon` that is accepted from single precision.
const ACCEPTED: f64 = 1e-4;
/// Rounding error of a few operations in single precision.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;
/// The share of the squared norms below which a squared distance is computed again from differences.
const EXPANDED: f64 = 1e-2;

impl Cost<'_> {
    /// Returns the same costs in double precision if single precision is too coarse for this epsilon and
    /// `n m` doubles fit into `memory` bytes.
    pub(crate) fn refined(&self, epsilon: f64, memory: usize) -> Option<Cost<'_>> {
        let (n, m) = self.shape;
        if self.rounding(epsilon) <= ACCEPTED || n.saturating_mul(m).saturating_mul(8) > memory {
            return None;
        }
        let costs: Cow<'_, [f64]> = match &self.kind {
            CostForm::Points(points) => points.differences().into(),
            CostForm::Matrix(costs) => costs.iter().map(|&c| f64::from(c)).collect(),
            CostForm::Matrix64(costs) => Cow::Borrowed(&**costs),
        };
        // Subtracting the smallest cost of each row, then of each column, leaves small numbers where mass
        // moves.
        let source: Vec<f64> =
            costs.par_chunks(m).map(|row| row.iter().fold(f64::INFINITY, |least, &c| least.min(c))).collect();
        let least = |mut target: Vec<f64>, (row, source): (&[f64], &f64)| {
            target.iter_mut().zip(row).for_each(|(least, c)| *least = least.min(c - source));
            target
        };
        let target = costs.chunks(m).zip(&source).fold(vec![f64::INFINITY; m], least);
        Some(Cost { kind: CostForm::Matrix64(costs), shape: self.shape, source, target })
    }

    /// Returns the error of `C / epsilon` that rounding to single precision causes.
    pub(crate) fn rounding(&self, epsilon: f64) -> f64 {
        let top = |norms: &[f64]| norms.iter().fold(0.0_f64, |top, norm| top.max(*norm)).sqrt();
        let size = match &self.kind {
            CostForm::Points(points) if points.root => points.unit * top(&points.p).max(top(&points.q)),
            CostForm::Points(points) => 2.0 * points.unit * top(&points.p) * top(&points.q),
            CostForm::Matrix(_) | CostForm::Matrix64(_) => self.mean().abs(),
        };
        ROUNDING * size / epsilon
    }
}

impl PointCost {
    /// Returns all costs in double precision.
    fn differences(&self) -> Vec<f64> {
        let [x, y] = &self.given;
        let rows: Vec<usize> = (0..x.nrows()).collect();
        let all = rows.into_par_iter().flat_map_iter(|i| {
            (0..y.nrows()).map(move |j| {
                let square = square(x, i, y, j);
                if self.root { square.sqrt() } else { square }
            })
        });
        all.collect()
    }

    /// Replaces the negative distances of a row, in units of `1 / factor`, that are small by those of the
    /// points as they were given.
    pub(super) fn refine(&self, i: usize, row: &mut [f32], factor: f64) {
        let [x, y] = &self.given;
        for (j, value) in row.iter_mut().enumerate() {
            let distance = f64::from(*value) / factor;
            if distance * distance < EXPANDED * (self.p[i] + self.q[j]) {
                *value = (-square(x, i, y, j).sqrt() / self.unit * factor) as f32;
            }
        }
    }
}

/// Returns the squared distance of two points.
fn square(x: &Array2<f64>, i: usize, y: &Array2<f64>, j: usize) -> f64 {
    let (x, y) = (x.row(i), y.row(j));
    let (Some(x), Some(y)) = (x.to_slice(), y.to_slice()) else { return 0.0 };
    x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum()
}
