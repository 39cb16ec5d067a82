//! Maps out of sample: what a plan says about points that it has not seen.
//!
//! The entropic map `T(x) = sum_j softmax_j((g_j - |x - y_j|^2) / epsilon + ln b_j) y_j` (Seguy et al. 2018; Pooladian &
//! Niles-Weed 2021, arXiv 2109.12004) is one attention layer: `|x|^2` is the same for all j and drops out. On the points
//! of the fit it gives the plan's barycentric targets.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{Coupling, Result, cost::finite};

/// An attention layer `T(x) = softmax(x keys^T + bias) values`.
#[derive(Debug, Clone)]
pub struct EntropicMap {
    /// `2 y / epsilon`, `[m, d]`.
    pub keys: Array2<f32>,
    /// `(g - |y|^2) / epsilon + ln b`, its largest entry zero; `[m]`. A point without weight is left out by `-1e30`.
    pub bias: Array1<f32>,
    /// `y`, or whatever the points should be sent to, `[m, v]`.
    pub values: Array2<f32>,
}

impl EntropicMap {
    /// The layer for target points `y[m, d]` with weights `b` and potential `g` of a squared Euclidean problem.
    fn new(y: ArrayView2<'_, f32>, b: &[f64], g: &Array1<f64>, epsilon: f64) -> Self {
        let score = |j: usize| {
            let square: f64 = y.row(j).iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            (g[j] - square) / epsilon + b[j].ln()
        };
        let bias: Array1<f64> = (0..y.nrows()).map(score).collect();
        let top = bias.iter().fold(f64::NEG_INFINITY, |top, &v| top.max(v));
        Self {
            keys: y.mapv(|v| (2.0 * f64::from(v) / epsilon) as f32),
            bias: bias.mapv(|v| (v - top).max(-1e30) as f32),
            values: y.to_owned(),
        }
    }
}

impl Coupling<'_> {
    /// The map from source to target, for the target's points `y[m, d]` of a squared Euclidean problem. Points far from the
    /// origin lose digits in `keys`: centre both clouds first.
    ///
    /// # Errors
    /// When `y` has another number of rows than the target.
    pub fn forward_map(&self, y: ArrayView2<'_, f32>) -> Result<EntropicMap> {
        let (_, b) = self.weights();
        crate::same("rows of the target points", b.len(), y.nrows())?;
        Ok(EntropicMap::new(y, b, &self.target_potential(), self.report.epsilon))
    }

    /// The map from target to source, for the source's points `x[n, d]`.
    ///
    /// # Errors
    /// When `x` has another number of rows than the source.
    pub fn backward_map(&self, x: ArrayView2<'_, f32>) -> Result<EntropicMap> {
        let (a, _) = self.weights();
        crate::same("rows of the source points", a.len(), x.nrows())?;
        Ok(EntropicMap::new(x, a, &self.source_potential(), self.report.epsilon))
    }
}

/// Barycentric targets `T[i] = sum_j P_ij y_j / sum_j P_ij` of a dense plan `P[n, m]`; a row without mass gets zeros.
///
/// # Errors
/// When `y` has another number of rows than the plan has columns.
pub fn barycentric(plan: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    crate::same("rows of the target points", plan.ncols(), y.nrows())?;
    let sums = plan.sum_axis(Axis(1)).mapv(|s| if s > 0.0 { s } else { 1.0 });
    Ok(plan.dot(&y) / &sums.insert_axis(Axis(1)))
}

/// A map that is known at some points, elsewhere: each row of `x[n, d]` moves as the nearest known point does, `x + T(x_i) - x_i`, for
/// `known[m, d]` and its `images[m, d]` (Ferradans et al. 2014, section 4.2; POT's `transform`). The first of equally near points counts.
///
/// It gives the images themselves at the known points, and jumps where the nearest one changes: [`EntropicMap`] and
/// [`crate::GaussianMap`] are smooth, so nothing here uses it unasked. `O(n m d)`, in memory `O(n d)`.
///
/// # Errors
/// When the shapes disagree, or something is empty or not finite.
pub fn shifted(
    known: ArrayView2<'_, f32>,
    images: ArrayView2<'_, f32>,
    x: ArrayView2<'_, f32>,
) -> Result<Array2<f32>> {
    crate::same("rows of the images", known.nrows(), images.nrows())?;
    crate::same("columns of the images", known.ncols(), images.ncols())?;
    crate::same("columns of the points to move", known.ncols(), x.ncols())?;
    finite("the known points", known, f32::is_finite)?;
    finite("their images", images, f32::is_finite)?;
    finite("the points to move", x, f32::is_finite)?;
    let mut moved = x.to_owned();
    moved.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut row| {
        let square = |i: usize| -> f64 {
            known.row(i).iter().zip(&row).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        let nearest = (0..known.nrows()).map(|i| (square(i), i)).min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, i)) = nearest {
            row += &images.row(i);
            row -= &known.row(i);
        }
    });
    Ok(moved)
}
