//! Dense linear algebra on `ndarray` matrices in double precision, computed by `faer`.
//!
//! Every call runs on one thread, so results do not depend on the number of threads: parallelise over tasks.
//! Decompositions reject input that is not finite, on which they would not terminate.
//!
//! ```
//! use chiasm_geometry::linalg::{Svd, product, thin_svd};
//! let a = ndarray::array![[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]];
//! let Svd { u, s, v } = thin_svd(a.view())?;
//! assert!((s[0] - 4.0).abs() < 1e-12);
//! let again = product(&(&u * &s), &v.t())?;
//! assert!((again - a).iter().all(|d| d.abs() < 1e-12));
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::linalg::{evd, matmul::matmul};
use faer::{Accum, Mat, MatRef, Par};
use ndarray::{Array1, Array2, ArrayBase, ArrayView2, CowArray, Data, Ix2, ShapeBuilder};

use crate::real::Real;
use crate::{Error, Result};

/// Eigenvalues and eigenvectors of a symmetric matrix, largest eigenvalue first.
#[derive(Debug, Clone)]
pub struct Eigen {
    /// Eigenvalues, descending.
    pub values: Array1<f64>,
    /// Eigenvectors, one per column, orthonormal.
    pub vectors: Array2<f64>,
}

/// A thin singular value decomposition `A = U diag(s) Vᵀ`.
#[derive(Debug, Clone)]
pub struct Svd {
    /// Left vectors `[m, min(m, n)]`, orthonormal columns.
    pub u: Array2<f64>,
    /// Singular values, descending.
    pub s: Array1<f64>,
    /// Right vectors `[n, min(m, n)]`, orthonormal columns (not transposed).
    pub v: Array2<f64>,
}

/// Returns the product `a b`. Transposed views are not copied.
///
/// # Errors
/// When the inner sizes differ.
pub fn product<A, B>(a: &ArrayBase<A, Ix2>, b: &ArrayBase<B, Ix2>) -> Result<Array2<f64>>
where
    A: Data<Elem = f64>,
    B: Data<Elem = f64>,
{
    crate::same("inner size of a matrix product", a.ncols(), b.nrows())?;
    let mut out = Mat::<f64>::zeros(a.nrows(), b.ncols());
    matmul(&mut out, Accum::Replace, faer_view(&dense(a.view())), faer_view(&dense(b.view())), 1.0, Par::Seq);
    Ok(to_array(&out))
}

/// Returns the eigendecomposition of a symmetric matrix `[n, n]`, of which only the lower triangle is read.
///
/// # Errors
/// When the matrix is not square, holds a value that is not finite, or the iteration does not converge.
pub fn symmetric_eigen(a: ArrayView2<'_, f64>) -> Result<Eigen> {
    let n = a.nrows();
    crate::same("columns of a symmetric matrix", n, a.ncols())?;
    finite("symmetric matrix", a)?;
    let mut vectors = Mat::<f64>::zeros(n, n);
    let mut values = faer::Col::<f64>::zeros(n);
    let need =
        evd::self_adjoint_evd_scratch::<f64>(n, evd::ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut memory = MemBuffer::new(need);
    evd::self_adjoint_evd(
        faer_view(&dense(a)),
        values.as_mut().as_diagonal_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|_| Error::NoConvergence("symmetric eigen-decomposition"))?;
    Ok(Eigen {
        values: Array1::from_shape_fn(n, |i| values[n - 1 - i]),
        vectors: Array2::from_shape_fn((n, n).f(), |(row, i)| vectors[(row, n - 1 - i)]),
    })
}

/// Returns the thin singular value decomposition of `a [m, n]`.
///
/// # Errors
/// When the matrix holds a value that is not finite, or the iteration does not converge.
pub fn thin_svd(a: ArrayView2<'_, f64>) -> Result<Svd> {
    finite("matrix", a)?;
    let (m, n) = a.dim();
    let k = m.min(n);
    let thin = ComputeSvdVectors::Thin;
    let (mut u, mut v) = (Mat::<f64>::zeros(m, k), Mat::<f64>::zeros(n, k));
    let mut s = faer::Col::<f64>::zeros(k);
    let mut memory = MemBuffer::new(svd_scratch::<f64>(m, n, thin, thin, Par::Seq, Default::default()));
    svd(
        faer_view(&dense(a)),
        s.as_mut().as_diagonal_mut(),
        Some(u.as_mut()),
        Some(v.as_mut()),
        Par::Seq,
        MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|_| Error::NoConvergence("singular value decomposition"))?;
    Ok(Svd { u: to_array(&u), s: Array1::from_shape_fn(k, |i| s[i]), v: to_array(&v) })
}

/// Returns the rows scaled to length one. Rows shorter than 1e-12 are divided by 1e-12, so zeros stay zero.
///
/// ```
/// use chiasm_geometry::linalg::unit_rows;
/// let rows = unit_rows(ndarray::array![[3.0_f32, 4.0], [0.0, 0.0]]);
/// assert_eq!(rows, ndarray::array![[0.6, 0.8], [0.0, 0.0]]);
/// ```
pub fn unit_rows<T: Real>(mut rows: Array2<T>) -> Array2<T> {
    let floor = T::of(1e-12);
    for mut row in rows.outer_iter_mut() {
        let length = row.dot(&row).sqrt();
        row /= if length > floor { length } else { floor };
    }
    rows
}

/// Checks that all values are finite.
///
/// # Errors
/// [`Error::NotFinite`] with `what` and the first row that holds NaN or infinity.
pub fn finite<T: Real>(what: &'static str, a: ArrayView2<'_, T>) -> Result<()> {
    match a.outer_iter().position(|row| row.iter().any(|x| !x.is_finite())) {
        Some(row) => Err(Error::NotFinite { what, row }),
        None => Ok(()),
    }
}

/// Returns the matrix in a layout that faer can view. Copies only if the view is strided.
fn dense(a: ArrayView2<'_, f64>) -> CowArray<'_, f64, Ix2> {
    if a.is_standard_layout() || a.t().is_standard_layout() {
        CowArray::from(a)
    } else {
        CowArray::from(a.to_owned())
    }
}

fn faer_view<'a>(a: &'a CowArray<'_, f64, Ix2>) -> MatRef<'a, f64> {
    let (rows, columns) = a.dim();
    if let Some(slice) = a.as_slice() {
        MatRef::from_row_major_slice(slice, rows, columns)
    } else {
        MatRef::from_column_major_slice(a.as_slice_memory_order().unwrap_or_default(), rows, columns)
    }
}

fn to_array(a: &Mat<f64>) -> Array2<f64> {
    Array2::from_shape_fn((a.nrows(), a.ncols()), |(row, column)| a[(row, column)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use ndarray::array;

    fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        let mut random = Random::new(seed);
        Array2::from_shape_simple_fn((rows, columns), || random.normal())
    }

    fn close(a: &Array2<f64>, b: &Array2<f64>) {
        let gap = (a - b).iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(gap < 1e-10, "largest difference {gap}");
    }

    /// The reference is ndarray's product, which sums in another order, hence the tolerance of 1e-10.
    #[test]
    fn product_takes_any_layout() {
        let (a, b) = (noise(17, 40, 1), noise(23, 17, 2));
        close(&product(&a.t(), &b.t()).unwrap(), &a.t().dot(&b.t()));
        let strided = a.slice_each_axis(|axis| ndarray::Slice::new(0, None, 2 + axis.axis.index() as isize));
        close(&product(&strided, &strided.t()).unwrap(), &strided.dot(&strided.t()));
        assert_eq!(product(&noise(3, 0, 1), &noise(0, 2, 1)).unwrap(), Array2::<f64>::zeros((3, 2)));
        assert!(product(&a, &b).unwrap_err().to_string().contains("expected 40, got 23"));
    }

    #[test]
    fn the_eigendecomposition_rebuilds_the_matrix() {
        let small = symmetric_eigen(array![[2.0, 1.0], [1.0, 2.0]].view()).unwrap();
        assert!((small.values[0] - 3.0).abs() < 1e-12 && (small.values[1] - 1.0).abs() < 1e-12);
        let x = noise(30, 60, 3);
        let a = x.dot(&x.t());
        let Eigen { values, vectors } = symmetric_eigen(a.view()).unwrap();
        assert!(values.windows(2).into_iter().all(|w| w[0] >= w[1]));
        close(&(&vectors * &values).dot(&vectors.t()), &a);
        close(&vectors.t().dot(&vectors), &Array2::eye(30));
    }

    #[test]
    fn the_svd_rebuilds_wide_and_tall_matrices() {
        for a in [noise(12, 31, 4), noise(31, 12, 5)] {
            let Svd { u, s, v } = thin_svd(a.view()).unwrap();
            assert_eq!((u.dim().1, v.dim().1), (12, 12));
            close(&(&u * &s).dot(&v.t()), &a);
            close(&u.t().dot(&u), &Array2::eye(12));
        }
    }

    #[test]
    fn nan_is_an_error_that_names_the_row() {
        let mut a = noise(4, 4, 6);
        a[[2, 1]] = f64::NAN;
        for error in [symmetric_eigen(a.view()).unwrap_err(), thin_svd(a.view()).unwrap_err()] {
            assert!(error.to_string().contains("row 2"), "{error}");
        }
    }
}
