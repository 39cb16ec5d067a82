//! Distances between the local covariance matrices of paired rows in one space.
//!
//! The local covariance of a point is that of its neighbours and itself within its cloud, on the leading
//! principal axes of the union of both clouds. Because few neighbours span few directions, it is shrunk
//! towards its mean variance: `Σ = (1 - s) S + s tr(S)/r I` (Ledoit and Wolf 2004, with fixed s = 0.1). The
//! measures are means over the points.
//!
//! ```
//! use chiasm_geometry::{local_covariance::local_covariances, neighbours::Neighbours, random::Random};
//! let mut random = Random::new(1);
//! let x = ndarray::Array2::from_shape_simple_fn((30, 3), || random.normal());
//! let near = Neighbours::new(x.view(), 5, 0)?;
//! let found = local_covariances(x.view(), x.view(), &near, &near, 3)?;
//! assert!(found.log_euclidean.abs() < 1e-6 && found.affine_invariant.abs() < 1e-6);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use faer::{Mat, Side};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rayon::prelude::*;

use crate::cloud::{cloud_stats, common_frame, faer_rows};
use crate::neighbours::Neighbours;
use crate::products::{function_of, product, spectrum, symmetric};
use crate::real::Real;
use crate::{Error, Result, same};

/// The shrinkage s.
const SHRINKAGE: f64 = 0.1;
/// A variance below this share of the mean square of both clouds is considered rounding error.
const NO_SPREAD: f64 = 1e-24;

/// Mean distances between the local covariances of paired points.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LocalCovariances {
    /// `‖log Σx - log Σy‖_F` (Arsigny et al. 2006).
    pub log_euclidean: f64,
    /// `sqrt(Σ log² λ)` over the eigenvalues of `Σx⁻¹ Σy` (Pennec et al. 2006).
    pub affine_invariant: f64,
}

/// Compares the local covariances of the paired rows `x [n, d]` and `y [n, d]` on at most `axes` common
/// principal axes.
///
/// `nx` and `ny` are the neighbours of the rows of `x` and of `y`.
///
/// # Errors
/// When shapes differ, a value is not finite, all points of a neighbourhood are equal, or `nx` or `ny` has
/// another number of rows.
pub fn local_covariances<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    nx: &Neighbours,
    ny: &Neighbours,
    axes: usize,
) -> Result<LocalCovariances> {
    same("rows of the second cloud (row i belongs to row i)", x.nrows(), y.nrows())?;
    same("rows with neighbours of the first cloud", x.nrows(), nx.index.nrows())?;
    same("rows with neighbours of the second cloud", x.nrows(), ny.index.nrows())?;
    let both = common_frame(x.view(), y.view(), 2)?;
    let (x, y) = on_common_axes(&both.x.rows, &both.y.rows, axes)?;
    // On the common axes a constant cloud has rounding errors instead of zeros.
    let squares = |z: &Mat<f64>| z.norm_l2().powi(2) / z.nrows() as f64;
    let least = NO_SPREAD * (squares(&x) + squares(&y));
    let each: Vec<(f64, f64)> = (0..x.nrows())
        .into_par_iter()
        .map(|i| {
            let a =
                covariance(&x, i, nx, least).ok_or(Error::NoSpread("neighbourhood of the first cloud"))?;
            let b =
                covariance(&y, i, ny, least).ok_or(Error::NoSpread("neighbourhood of the second cloud"))?;
            Ok((log_euclidean(&a, &b)?, affine_invariant(&a, &b)?))
        })
        .collect::<Result<_>>()?;
    let n = each.len() as f64;
    Ok(LocalCovariances {
        log_euclidean: each.iter().map(|e| e.0).sum::<f64>() / n,
        affine_invariant: each.iter().map(|e| e.1).sum::<f64>() / n,
    })
}

/// Returns the coordinates of both clouds on the leading principal axes of their union.
fn on_common_axes<T: Real>(x: &Array2<T>, y: &Array2<T>, axes: usize) -> Result<(Mat<f64>, Mat<f64>)> {
    let all = concatenate![Axis(0), x.view(), y.view()];
    let mean = cloud_stats(0, all.view(), 2)?.mean.mapv(T::of);
    let centred = &all - &mean;
    let (_, vectors) = spectrum(&symmetric(faer_rows(&centred).transpose()))?;
    let d = x.ncols();
    let kept = axes.clamp(1, d);
    let leading = vectors.subcols(d - kept, kept);
    let scores = |cloud: &Array2<T>| {
        let wide = cloud.mapv(Into::<f64>::into);
        product(faer_rows(&wide), leading)
    };
    Ok((scores(x), scores(y)))
}

/// Returns the shrunk covariance of a neighbourhood, or `None` if all its points are equal.
fn covariance(scores: &Mat<f64>, i: usize, neighbours: &Neighbours, least: f64) -> Option<Mat<f64>> {
    let rows: Vec<usize> = neighbours.index.row(i).iter().map(|j| *j as usize).chain([i]).collect();
    let (r, count) = (scores.ncols(), rows.len() as f64);
    let mean: Vec<f64> = (0..r).map(|c| rows.iter().map(|&j| scores[(j, c)]).sum::<f64>() / count).collect();
    let s = Mat::from_fn(r, r, |a, b| {
        rows.iter().map(|&j| (scores[(j, a)] - mean[a]) * (scores[(j, b)] - mean[b])).sum::<f64>() / count
    });
    let variance = (0..r).map(|a| s[(a, a)]).sum::<f64>() / r as f64;
    let shrunk = |a, b| (1.0 - SHRINKAGE) * s[(a, b)] + if a == b { SHRINKAGE * variance } else { 0.0 };
    (variance > least).then(|| Mat::from_fn(r, r, shrunk))
}

fn log_euclidean(a: &Mat<f64>, b: &Mat<f64>) -> Result<f64> {
    let apart = function_of(a, f64::ln)? - function_of(b, f64::ln)?;
    Ok(apart.norm_l2())
}

fn affine_invariant(a: &Mat<f64>, b: &Mat<f64>) -> Result<f64> {
    let whiten = function_of(a, |v| 1.0 / v.sqrt())?;
    let ratio = &whiten * b * &whiten;
    let values = ratio
        .self_adjoint_eigenvalues(Side::Lower)
        .map_err(|_| Error::NoConvergence("symmetric eigen-decomposition"))?;
    Ok(values.into_iter().map(|v| v.max(f64::MIN_POSITIVE).ln().powi(2)).sum::<f64>().sqrt())
}
