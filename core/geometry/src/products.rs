//! Matrix products and decompositions on all threads, for the measures of clouds.

use faer::linalg::matmul::{
    matmul,
    triangular::{self, BlockStructure},
};
use faer::{Accum, Mat, MatRef, Par, Side};

use crate::real::Real;
use crate::{Error, Result};

/// Returns `a b`, summed in the type of the matrices and converted to `f64`.
pub(crate) fn product<T: Real>(a: MatRef<'_, T>, b: MatRef<'_, T>) -> Mat<f64> {
    let mut out = Mat::<T>::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, T::of(1.0), Par::rayon(0));
    Mat::from_fn(out.nrows(), out.ncols(), |i, j| out[(i, j)].into())
}

/// Returns `a aᵀ`, computing only one triangle.
pub(crate) fn symmetric<T: Real>(a: MatRef<'_, T>) -> Mat<f64> {
    use BlockStructure::{Rectangular, TriangularLower};
    let mut out = Mat::<T>::zeros(a.nrows(), a.nrows());
    triangular::matmul(
        out.as_mut(),
        TriangularLower,
        Accum::Replace,
        a,
        Rectangular,
        a.transpose(),
        Rectangular,
        T::of(1.0),
        Par::rayon(0),
    );
    Mat::from_fn(out.nrows(), out.nrows(), |i, j| out[(i.max(j), i.min(j))].into())
}

/// Returns `Σ a_ij b_ij`.
pub(crate) fn inner(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (0..a.ncols()).map(|j| a.col(j).iter().zip(b.col(j).iter()).map(|(a, b)| a * b).sum::<f64>()).sum()
}

/// Returns the singular values in descending order, to full accuracy.
pub(crate) fn singular_values(a: &Mat<f64>) -> Result<Vec<f64>> {
    a.singular_values().map_err(|_| Error::NoConvergence("singular value decomposition"))
}

/// Returns the eigenvalues, ascending and clipped at zero, and the eigenvectors of a positive semi-definite
/// matrix.
pub(crate) fn spectrum(a: &Mat<f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let eigen = a
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Error::NoConvergence("symmetric eigen-decomposition"))?;
    let values = eigen.S().column_vector().iter().map(|v| v.max(0.0)).collect();
    Ok((values, eigen.U().to_owned()))
}

/// Returns `V f(λ) Vᵀ` of a positive semi-definite matrix.
pub(crate) fn function_of(a: &Mat<f64>, f: impl Fn(f64) -> f64) -> Result<Mat<f64>> {
    let (values, vectors) = spectrum(a)?;
    let scaled = Mat::from_fn(a.nrows(), a.nrows(), |i, j| vectors[(i, j)] * f(values[j]));
    Ok(&scaled * vectors.transpose())
}
