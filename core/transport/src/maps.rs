//! Maps that extend a transport plan to points outside the problem.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::{Coupling, Result, cost::finite, same};

/// The entropic map, an attention layer `T(x) = softmax(x keys^T + bias) values`.
///
/// `T(x) = sum_j softmax_j((g_j - |x - y_j|^2) / epsilon + ln b_j) y_j` (Seguy et al. 2018; Pooladian and
/// Niles-Weed 2021, arXiv 2109.12004). The term `|x|^2` is the same for all j and cancels. At the points of
/// the problem the map gives the barycentric targets of the plan.
///
/// ```
/// use chiasm_transport::{Cost, Sinkhorn, uniform};
/// let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0]];
/// let y = ndarray::array![[0.0_f32, 1.0], [1.0, 1.0], [2.0, 1.0]];
/// let cost = Cost::squared_euclidean(x.view(), y.view())?;
/// let map = Sinkhorn::new(0.1).solve(&cost, &uniform(2), &uniform(3))?.forward_map(y.view())?;
/// assert_eq!((map.keys.dim(), map.bias.len(), map.values.dim()), ((3, 2), 3, (3, 2)));
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EntropicMap {
    /// `2 y / epsilon`, `[m, d]`.
    pub keys: Array2<f32>,
    /// `(g - |y|^2) / epsilon + ln b`, shifted so that its largest entry is zero; `[m]`. The entry of a point
    /// without weight is `-1e30`.
    pub bias: Array1<f32>,
    /// The images of the target points, `[m, v]`; `y` unless replaced.
    pub values: Array2<f32>,
}

impl EntropicMap {
    /// Builds the map to the target points `y[m, d]` of a squared Euclidean problem, from their weights
    /// `b[m]` and dual potential `g[m]`.
    ///
    /// # Errors
    /// When `b` or `g` has another length than `y` has rows.
    pub fn new(y: ArrayView2<'_, f32>, b: &[f64], g: &Array1<f64>, epsilon: f64) -> Result<Self> {
        same("target weights", y.nrows(), b.len())?;
        same("target potential", y.nrows(), g.len())?;
        let score = |j: usize| {
            let square: f64 = y.row(j).iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            (g[j] - square) / epsilon + b[j].ln()
        };
        let bias: Array1<f64> = (0..y.nrows()).map(score).collect();
        let top = bias.iter().fold(f64::NEG_INFINITY, |top, &v| top.max(v));
        Ok(Self {
            keys: y.mapv(|v| (2.0 * f64::from(v) / epsilon) as f32),
            bias: bias.mapv(|v| (v - top).max(-1e30) as f32),
            values: y.to_owned(),
        })
    }
}

impl Coupling<'_> {
    /// Returns the map from source to target, given the target points `y[m, d]` of a squared Euclidean
    /// problem.
    ///
    /// Points far from the origin lose digits in `keys`: centre both clouds first.
    ///
    /// # Errors
    /// When `y` does not have one row per target point.
    pub fn forward_map(&self, y: ArrayView2<'_, f32>) -> Result<EntropicMap> {
        let (_, b) = self.weights();
        same("rows of the target points", b.len(), y.nrows())?;
        EntropicMap::new(y, b, &self.target_potential(), self.report.epsilon)
    }

    /// Returns the map from target to source, given the source points `x[n, d]` of a squared Euclidean
    /// problem.
    ///
    /// # Errors
    /// When `x` does not have one row per source point.
    pub fn backward_map(&self, x: ArrayView2<'_, f32>) -> Result<EntropicMap> {
        let (a, _) = self.weights();
        same("rows of the source points", a.len(), x.nrows())?;
        EntropicMap::new(x, a, &self.source_potential(), self.report.epsilon)
    }
}

/// Returns the barycentric targets `T[i] = sum_j P_ij y_j / sum_j P_ij` of a dense plan `P[n, m]`, given the
/// target points `y[m, d]`. A row without mass gives zeros.
///
/// # Errors
/// When `y` does not have one row per column of the plan.
pub fn barycentric(plan: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    same("rows of the target points", plan.ncols(), y.nrows())?;
    let sums = plan.sum_axis(Axis(1)).mapv(|s| if s > 0.0 { s } else { 1.0 });
    Ok(plan.dot(&y) / &sums.insert_axis(Axis(1)))
}

/// Extends a map that is known at some points: each row of `x[n, d]` moves as its nearest known point does.
///
/// `T(x) = x + T(x_i) - x_i` for the nearest `x_i` in `known[m, d]`, whose image is the same row of
/// `images[m, d]` (Ferradans et al. 2014, section 4.2; `transform` in POT). Of equally near points the first
/// one is used. The map interpolates the known images and is discontinuous where the nearest point changes;
/// [`EntropicMap`] and [`crate::GaussianMap`] are smooth. Takes `O(n m d)` time and `O(n d)` memory.
///
/// ```
/// use chiasm_transport::shift_by_nearest;
/// let known = ndarray::array![[0.0_f32, 0.0], [4.0, 4.0]];
/// let images = ndarray::array![[10.0_f32, 0.0], [4.0, 3.0]];
/// let moved = shift_by_nearest(known.view(), images.view(), ndarray::array![[1.0_f32, 1.0]].view())?;
/// assert_eq!(moved, ndarray::array![[11.0_f32, 1.0]]);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When the shapes do not match, or an array is empty or not finite.
pub fn shift_by_nearest(
    known: ArrayView2<'_, f32>,
    images: ArrayView2<'_, f32>,
    x: ArrayView2<'_, f32>,
) -> Result<Array2<f32>> {
    same("rows of the images", known.nrows(), images.nrows())?;
    same("columns of the images", known.ncols(), images.ncols())?;
    same("columns of the points to move", known.ncols(), x.ncols())?;
    finite("known points", known, f32::is_finite)?;
    finite("images of the known points", images, f32::is_finite)?;
    finite("points to move", x, f32::is_finite)?;
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
