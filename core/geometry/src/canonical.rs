//! Linear relations of paired clouds: canonical correlations, SVCCA, the Procrustes residual. Widths may
//! differ.
//!
//! ```
//! use chiasm_geometry::canonical::{procrustes_residual, svcca};
//! let x = ndarray::array![[0.0, 1.0], [2.0, 0.0], [1.0, 5.0], [4.0, 4.0], [3.0, 2.0], [1.0, 1.0]];
//! let rotated = x.dot(&ndarray::array![[0.6, 0.8], [-0.8, 0.6]]);
//! assert!(procrustes_residual(x.view(), rotated.view())? < 1e-12);
//! assert!((svcca(x.view(), rotated.view(), 0.99)? - 1.0).abs() < 1e-9);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use faer::{Mat, Side};
use ndarray::{Array2, ArrayView2};

use crate::cloud::{NAMES, faer_rows, paired};
use crate::moments::moments;
use crate::products::{singular_values, spectrum, symmetric};
use crate::real::Real;
use crate::{Error, Result};

/// Returns the `min(a, b)` canonical correlations of the paired rows `x [n, a]` and `y [n, b]` in descending
/// order (Hotelling 1936).
///
/// They are the singular values of `Cx^{-1/2} Cxy Cy^{-1/2}`. `ridge > 0` is added to the diagonals of the
/// covariances `Cx = XᵀX / n` and `Cy`. If the largest magnitude is above 1e6 or below 1e-6, clouds are
/// scaled by a power of two first.
///
/// # Errors
/// When the numbers of rows differ, a value is not finite, or a covariance plus ridge is not positive
/// definite.
pub fn canonical_correlations<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    ridge: f64,
) -> Result<Vec<f64>> {
    let found = moments(x, y, 2, true)?;
    let n = x.nrows() as f64;
    let factor = |m: Mat<f64>| {
        let ridged =
            Mat::from_fn(m.nrows(), m.nrows(), |i, j| m[(i, j)] / n + if i == j { ridge } else { 0.0 });
        ridged.llt(Side::Lower).map_err(|_| Error::NoConvergence("Cholesky factorisation (raise the ridge)"))
    };
    let (left, right) = (factor(found.xx)?, factor(found.yy)?);
    let mut whitened = found.xy;
    let par = faer::Par::rayon(0);
    let solve = faer::linalg::triangular_solve::solve_lower_triangular_in_place;
    solve(left.L(), whitened.as_mut(), par);
    solve(right.L(), whitened.as_mut().transpose_mut(), par);
    Ok(singular_values(&whitened)?.into_iter().map(|s| s / n).collect())
}

/// Returns the SVCCA of the paired rows `x [n, a]` and `y [n, b]`, in [0, 1]: the mean canonical correlation
/// of their leading principal axes (Raghu et al. 2017, arXiv 1706.05806, section 2).
///
/// Each cloud keeps the fewest axes that explain the share `variance` of its variance (0.99 in the paper).
/// The mean is over the smaller number of axes.
///
/// Centred rows span at most `n - 1` dimensions of the rows. Axes of both clouds that are more than that
/// together have `a + b - (n - 1)` directions in common whatever the data, with a correlation of 1; with as
/// many rows as columns all correlations are 1. Such clouds are refused. The value of unrelated clouds still
/// grows with the share of axes to rows (about `sqrt(a b) / n` and more), so compare it with a null.
///
/// # Errors
/// When the numbers of rows differ, a value is not finite, `variance` is not in (0, 1], all rows of a cloud
/// are equal, or there are as few rows as the axes of both clouds together.
pub fn svcca<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, variance: f64) -> Result<f64> {
    if !(variance > 0.0 && variance <= 1.0) {
        let expected = "a share in (0, 1]".into();
        return Err(Error::Setting { what: "variance kept", expected, got: variance.to_string() });
    }
    let between = if x.ncols().max(y.ncols()) <= x.nrows() {
        let found = moments(x, y, 2, true)?;
        axes(&found.xx, variance, 0)?.transpose() * found.xy * axes(&found.yy, variance, 1)?
    } else {
        let (x, y) = paired(x.view(), y.view(), 2)?;
        scores(&x.rows, variance, 0)?.transpose() * scores(&y.rows, variance, 1)?
    };
    let (n, a, b) = (x.nrows(), between.nrows(), between.ncols());
    if a + b >= n {
        let forced = (a + b + 1 - n).min(a.min(b));
        let expected = format!(
            "more rows than the {a} + {b} axes that hold {:.0} % of the variance, otherwise at least \
             {forced} of {} correlations are 1 whatever the data",
            100.0 * variance,
            a.min(b)
        );
        return Err(Error::Setting { what: "rows for SVCCA", expected, got: n.to_string() });
    }
    let values = singular_values(&between)?;
    Ok(values.iter().map(|s| s.min(1.0)).sum::<f64>() / values.len() as f64)
}

/// Returns axes `[d, k]` that map a cloud with this `XᵀX` to orthonormal scores.
fn axes(own: &Mat<f64>, variance: f64, side: usize) -> Result<Mat<f64>> {
    let (values, vectors) = spectrum(own)?;
    let (first, d) = (leading(&values, variance, side)?, values.len());
    Ok(Mat::from_fn(d, d - first, |i, j| vectors[(i, first + j)] / values[first + j].sqrt()))
}

/// Returns the orthonormal scores `[n, k]`.
fn scores<T: Real>(x: &Array2<T>, variance: f64, side: usize) -> Result<Mat<f64>> {
    let (values, vectors) = spectrum(&symmetric(faer_rows(x)))?;
    let (first, n) = (leading(&values, variance, side)?, values.len());
    Ok(vectors.subcols(first, n - first).to_owned())
}

/// Returns the index of the first leading eigenvalue; eigenvalues are ascending.
fn leading(values: &[f64], variance: f64, side: usize) -> Result<usize> {
    let total: f64 = values.iter().sum();
    let top = values.last().copied().unwrap_or(0.0);
    let mut kept = 0.0;
    let mut first = values.len();
    while first > 0 && kept < variance * total * (1.0 - 1e-12) && values[first - 1] > 1e-12 * top {
        first -= 1;
        kept += values[first];
    }
    if first < values.len() { Ok(first) } else { Err(Error::NoSpread(NAMES[side])) }
}

/// Returns the residual of the paired rows `x [n, a]` and `y [n, b]` after the best shift, rotation and
/// scaling: `1 - (‖XᵀY‖_* / (‖X‖ ‖Y‖))²` of the centred clouds, in [0, 1].
///
/// This is the disparity of `scipy.spatial.procrustes` (Gower 1975; Schönemann 1966 for the rotation). The
/// narrower cloud is padded with zero columns.
///
/// # Errors
/// When the numbers of rows differ, a value is not finite, or all rows of a cloud are equal.
pub fn procrustes_residual<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    let (nuclear, sizes) = if x.ncols().max(y.ncols()) <= x.nrows() {
        let found = moments(x, y, 2, false)?;
        let sizes = found.squares.map(|squares| squares.iter().sum::<f64>());
        (singular_values(&found.xy)?.iter().sum::<f64>(), sizes)
    } else {
        let (x, y) = paired(x.view(), y.view(), 2)?;
        let (k, l) = (symmetric(faer_rows(&x.rows)), symmetric(faer_rows(&y.rows)));
        let sizes = [&k, &l].map(|own| (0..own.nrows()).map(|i| own[(i, i)]).sum::<f64>());
        (nuclear_by_rows(k, l)?, sizes)
    };
    match sizes.iter().position(|size| *size <= 0.0) {
        Some(side) => Err(Error::NoSpread(NAMES[side])),
        None => Ok((1.0 - nuclear * nuclear / (sizes[0] * sizes[1])).max(0.0)),
    }
}

/// Returns `‖XᵀY‖_*` from `K = XXᵀ` and `L = YYᵀ`: the trace of `(K^{1/2} L K^{1/2})^{1/2}`, which is the sum
/// of the singular values of `K^{1/2} L^{1/2}`.
pub(crate) fn nuclear_by_rows(k: Mat<f64>, l: Mat<f64>) -> Result<f64> {
    let root = |m: Mat<f64>| crate::products::function_of(&m, f64::sqrt);
    Ok(singular_values(&(root(k)? * root(l)?))?.iter().sum())
}
