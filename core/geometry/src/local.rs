//! Shapes of neighbourhoods of paired rows in one space: two distances between their covariance matrices.
//!
//! Around each point the covariance of its neighbours and itself, within each cloud, on the leading principal
//! axes of both clouds together. Few neighbours span few directions, so each covariance is shrunk towards its
//! mean variance: `Σ = (1 - s) S + s tr(S)/r I` (Ledoit and Wolf 2004, fixed s = 0.1). The measure is the
//! mean over points.

use faer::{Mat, Side};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rayon::prelude::*;

use crate::cloud::{faer_rows, survey, together};
use crate::neighbours::Neighbours;
use crate::products::{function_of, product, spectrum, symmetric};
use crate::real::Real;
use crate::{Error, Result, same};

/// Share of the mean variance that each local covariance takes in.
const SHRINKAGE: f64 = 0.1;
/// A variance below this share of both clouds' mean square is rounding.
const NO_SPREAD: f64 = 1e-24;

/// Mean distances between local covariances of paired points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalCovariances {
    /// `‖log Σx - log Σy‖_F` (Arsigny et al. 2006).
    pub log_euclidean: f64,
    /// `sqrt(Σ log² λ)` over the eigenvalues of `Σx⁻¹ Σy` (Pennec et al. 2006).
    pub affine_invariant: f64,
}

/// Local covariances of paired rows `x [n, d]`, `y [n, d]` on at most `axes` common principal axes; no unit
/// (log ratios).
///
/// # Errors
/// When shapes differ, a value is not finite, a neighbourhood is a single point repeated, or `nx`, `ny` are
/// of others.
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
    let both = together(x, y, 2)?;
    let (x, y) = on_common_axes(&both.x, &both.y, axes)?;
    // Of a cloud that lies at one point the common axes leave rounding.
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

/// Scores of both clouds on the leading axes of their union.
fn on_common_axes<T: Real>(x: &Array2<T>, y: &Array2<T>, axes: usize) -> Result<(Mat<f64>, Mat<f64>)> {
    let all = concatenate![Axis(0), x.view(), y.view()];
    let mean = survey(0, all.view(), 2)?.mean.mapv(T::of);
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

/// The shrunk covariance of a neighbourhood; none where all its points are one.
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
