//! Transport between Gaussians: the affine map in closed form and the Bures-Wasserstein distance.
//!
//! `T(x) = m_y + A (x - m_x)` with the symmetric positive definite matrix
//! `A = Sx^{-1/2} (Sx^{1/2} Sy Sx^{1/2})^{1/2} Sx^{-1/2}`; its inverse is the map of the swapped pair (Knott
//! and Smith 1984). Double precision. The map needs the inverse of a covariance, so covariances without full
//! rank must be shrunk towards their mean variance.

use faer::{Accum, Mat, MatRef, Par, Side, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView2};

use crate::{Error, Result};

/// The optimal affine map between the Gaussians fitted to two clouds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GaussianMap {
    /// `A[d, d]`, symmetric: `T(x) = target_mean + A (x - source_mean)`.
    pub matrix: Array2<f64>,
    /// The inverse of `matrix`, from its own closed form, `[d, d]`.
    pub inverse: Array2<f64>,
    /// Mean of the source cloud, `[d]`.
    pub source_mean: Array1<f64>,
    /// Mean of the target cloud, `[d]`.
    pub target_mean: Array1<f64>,
    /// Squared Bures-Wasserstein distance `|m_x - m_y|^2 + tr(Sx + Sy - 2 (Sx^{1/2} Sy Sx^{1/2})^{1/2})`.
    pub distance_squared: f64,
}

/// Fits Gaussians to `x[n, d]` and `y[m, d]` (equal weights) and returns the optimal map from one to the
/// other.
///
/// `shrinkage` in [0, 1) is the share of each covariance that is replaced by its mean variance times the
/// identity.
///
/// ```
/// let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
/// let map = chiasm_transport::gaussian_map(x.view(), (&x + 2.0).view(), 0.0)?;
/// assert!((map.distance_squared - 8.0).abs() < 1e-9); // a shift by (2, 2)
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When a cloud is empty or not finite, the dimensions differ, the shrinkage is out of range, or a covariance
/// is still singular.
pub fn gaussian_map(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, shrinkage: f64) -> Result<GaussianMap> {
    crate::same("dimension of the target points", x.ncols(), y.ncols())?;
    if !(0.0..1.0).contains(&shrinkage) {
        return Err(Error::Setting { what: "shrinkage", expected: "a number in [0, 1)", got: shrinkage });
    }
    let (source_mean, sx) = moments("source points", x, shrinkage)?;
    let (target_mean, sy) = moments("target points", y, shrinkage)?;
    let (root, unroot) = (power(&sx, 0.5)?, power(&sx, -0.5)?);
    let middle = times(&times(&root, &sy), &root);
    let (cross, uncross) = (power(&middle, 0.5)?, power(&middle, -0.5)?);
    let matrix = times(&times(&unroot, &cross), &unroot);
    let inverse = times(&times(&root, &uncross), &root);
    let trace = |m: &Mat<f64>| (0..m.nrows()).map(|i| m[(i, i)]).sum::<f64>();
    let shift: f64 = source_mean.iter().zip(&target_mean).map(|(a, b)| (a - b).powi(2)).sum();
    let distance_squared = (shift + trace(&sx) + trace(&sy) - 2.0 * trace(&cross)).max(0.0);
    let array = |m: &Mat<f64>| Array2::from_shape_fn((m.nrows(), m.ncols()), |(i, j)| m[(i, j)]);
    Ok(GaussianMap {
        matrix: array(&matrix),
        inverse: array(&inverse),
        source_mean: source_mean.into(),
        target_mean: target_mean.into(),
        distance_squared,
    })
}

/// Returns the mean and the shrunk covariance (divided by n).
fn moments(what: &'static str, z: ArrayView2<'_, f32>, shrinkage: f64) -> Result<(Vec<f64>, Mat<f64>)> {
    crate::cost::finite(what, z, |v| v.is_finite())?;
    let (n, d) = z.dim();
    let mean = crate::cost::mean_row(z);
    let centred: Vec<f64> =
        z.rows().into_iter().flat_map(|r| r.into_iter().zip(&mean).map(|(&v, m)| f64::from(v) - m)).collect();
    let centred = MatRef::from_row_major_slice(&centred, n, d);
    let mut covariance = Mat::zeros(d, d);
    matmul(&mut covariance, Accum::Replace, centred.transpose(), centred, 1.0 / n as f64, Par::rayon(0));
    let level = (0..d).map(|i| covariance[(i, i)]).sum::<f64>() / d.max(1) as f64;
    for i in 0..d {
        for j in 0..d {
            covariance[(i, j)] *= 1.0 - shrinkage;
        }
        covariance[(i, i)] += shrinkage * level;
    }
    Ok((mean, covariance))
}

/// Returns a power of a symmetric positive semi-definite matrix.
fn power(m: &Mat<f64>, exponent: f64) -> Result<Mat<f64>> {
    let broken = |why| Error::Breakdown { what: "the Gaussian map", why };
    let eigen = m.self_adjoint_eigen(Side::Lower).map_err(|_| {
        broken("an eigenvalue decomposition did not converge: check the input for huge values")
    })?;
    let (u, s) = (eigen.U(), eigen.S().column_vector());
    let d = m.nrows();
    let top = (0..d).fold(0.0_f64, |top, k| top.max(s[k]));
    if exponent < 0.0 && (0..d).any(|k| s[k] <= 1e-14 * top) {
        return Err(broken(
            "a covariance is singular (are there fewer points than dimensions?): raise the shrinkage",
        ));
    }
    let scaled = Mat::from_fn(d, d, |i, k| u[(i, k)] * s[k].max(0.0).powf(exponent));
    let mut out = Mat::zeros(d, d);
    matmul(&mut out, Accum::Replace, &scaled, u.transpose(), 1.0, Par::rayon(0));
    Ok(out)
}

/// Returns the product `a b`.
pub(crate) fn times(a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(&mut out, Accum::Replace, a, b, 1.0, Par::rayon(0));
    out
}
