//! Singular values without vectors, the sign of the determinant, and damped least squares; used for the
//! analysis of Jacobians.
//!
//! Singular values are the roots of the eigenvalues of the smaller Gram matrix, in double precision. `faer`
//! reduces it to tridiagonal form. This takes a third of the work of a bidiagonalisation and loses accuracy
//! only below `sqrt(eps) = 1.5e-8` of the largest value, which is less than the rounding of single-precision
//! matrices. Every call runs on one thread.
//!
//! ```
//! use chiasm_geometry::spectrum::{orientation, singular_values};
//! let a = ndarray::array![[0.0, 2.0], [3.0, 0.0]];
//! let s = singular_values(a.view())?;
//! assert!((s[0] - 3.0).abs() < 1e-7 && (s[1] - 2.0).abs() < 1e-7);
//! assert_eq!(orientation(a.view())?, -1);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::tridiag::{tridiag_in_place, tridiag_in_place_scratch};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::qr::no_pivoting::factor::recommended_block_size;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatRef, Par, Side};
use ndarray::{Array1, ArrayView1, ArrayView2};

use crate::linalg::finite;
use crate::{Error, Result, tridiagonal};

/// Returns the `min(m, n)` singular values of `a [m, n]` in descending order, with an absolute error of about
/// 1e-8 of the largest.
///
/// # Errors
/// When the matrix holds a value that is not finite, or the iteration does not converge.
pub fn singular_values(a: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
    finite("matrix", a)?;
    let mut gram = gram(a);
    let n = gram.nrows();
    let block = recommended_block_size::<f64>(n, n);
    let mut reflections = Mat::zeros(block, n.saturating_sub(1));
    let mut memory = MemBuffer::new(tridiag_in_place_scratch::<f64>(n, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut memory);
    tridiag_in_place(gram.as_mut(), reflections.as_mut(), Par::Seq, stack, Default::default());
    let mut values: Vec<f64> = (0..n).map(|i| gram[(i, i)]).collect();
    let mut neighbours: Vec<f64> = (1..n).map(|i| gram[(i, i - 1)]).collect();
    tridiagonal::eigenvalues(&mut values, &mut neighbours)?;
    // Rounding can make a zero eigenvalue negative.
    Ok(values.into_iter().rev().map(|value| value.max(0.0).sqrt()).collect())
}

/// Returns the sign of the determinant of a square matrix: 1, -1, or 0 if a pivot of the LU decomposition is
/// zero.
///
/// # Errors
/// When the matrix is not square or holds a value that is not finite.
pub fn orientation(a: ArrayView2<'_, f64>) -> Result<i8> {
    crate::same("columns of a square matrix", a.nrows(), a.ncols())?;
    finite("square matrix", a)?;
    let lu = mat(a).partial_piv_lu();
    let (upper, n) = (lu.U(), a.nrows());
    let mut sign = permutation_sign(lu.P().arrays().0);
    for i in 0..n {
        sign *= if upper[(i, i)] == 0.0 { 0 } else { upper[(i, i)].signum() as i8 };
    }
    Ok(sign)
}

/// Returns the solution `d [n]` of `(AᵀA + damping·max diag(AᵀA)·I) d = Aᵀ r`, damped least squares
/// (Levenberg 1944).
///
/// `a` is `[m, n]` with `m >= n`, `r` is `[m]`, and `damping > 0`.
///
/// # Errors
/// When sizes differ, or a value is not finite.
pub fn damped_least_squares(
    a: ArrayView2<'_, f64>,
    r: ArrayView1<'_, f64>,
    damping: f64,
) -> Result<Array1<f64>> {
    crate::same("rows of the right side", a.nrows(), r.len())?;
    finite("matrix", a)?;
    let columns = mat(a);
    let mut normal = Mat::<f64>::zeros(a.ncols(), a.ncols());
    lower_product(&mut normal, columns.transpose(), columns.as_ref());
    let top = (0..a.ncols()).fold(0.0f64, |top, i| top.max(normal[(i, i)]));
    for i in 0..a.ncols() {
        normal[(i, i)] += (damping * top).max(f64::MIN_POSITIVE);
    }
    let right = Mat::from_fn(a.nrows(), 1, |i, _| r[i]);
    let right = columns.transpose() * right;
    let factor = normal.llt(Side::Lower).map_err(|_| Error::NoConvergence("Cholesky factorisation"))?;
    let step = factor.solve(&right);
    Ok(Array1::from_shape_fn(a.ncols(), |i| step[(i, 0)]))
}

/// Returns the lower triangle of the smaller of `AᵀA` and `AAᵀ`.
fn gram(a: ArrayView2<'_, f64>) -> Mat<f64> {
    let dense = a.as_standard_layout();
    let a = MatRef::from_row_major_slice(dense.as_slice().unwrap_or_default(), dense.nrows(), dense.ncols());
    let (first, second) = if a.nrows() < a.ncols() { (a, a.transpose()) } else { (a.transpose(), a) };
    let mut gram = Mat::<f64>::zeros(first.nrows(), first.nrows());
    lower_product(&mut gram, first, second);
    gram
}

/// Writes the lower triangle of `a b` to `out`.
fn lower_product(out: &mut Mat<f64>, a: MatRef<'_, f64>, b: MatRef<'_, f64>) {
    use BlockStructure::{Rectangular, TriangularLower};
    triangular::matmul(
        out.as_mut(),
        TriangularLower,
        Accum::Replace,
        a,
        Rectangular,
        b,
        Rectangular,
        1.0,
        Par::Seq,
    );
}

fn mat(a: ArrayView2<'_, f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |row, column| a[[row, column]])
}

/// Returns 1 for an even permutation and -1 for an odd one.
fn permutation_sign(order: &[usize]) -> i8 {
    let mut seen = vec![false; order.len()];
    let mut sign = 1;
    for start in 0..order.len() {
        let (mut at, mut length) = (start, 0);
        while !seen[at] {
            seen[at] = true;
            at = order[at];
            length += 1;
        }
        if length > 0 && length % 2 == 0 {
            sign = -sign;
        }
    }
    sign
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::thin_svd;
    use crate::random::Random;
    use ndarray::{Array2, array};

    fn noise(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        let mut random = Random::new(seed);
        Array2::from_shape_simple_fn((rows, columns), || random.normal())
    }

    /// The Gram matrix loses half the digits of the smallest values, hence the tolerance of 1e-7 of the
    /// largest.
    #[test]
    fn singular_values_agree_with_the_svd() {
        for (rows, columns) in [(1, 1), (40, 40), (17, 60), (60, 17)] {
            let a = noise(rows, columns, 3);
            let exact = thin_svd(a.view()).unwrap().s;
            let got = singular_values(a.view()).unwrap();
            let gap = (&got - &exact).iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(gap < 1e-7 * exact[0], "{rows} x {columns}: {gap}");
        }
        let singular = array![[1.0, 2.0], [2.0, 4.0]];
        let got = singular_values(singular.view()).unwrap();
        assert!((got[0] - 5.0).abs() < 1e-12 && got[1] < 1e-7, "{got}");
        assert!(singular_values(array![[f64::NAN]].view()).is_err());
    }

    #[test]
    fn a_reflection_and_an_odd_permutation_flip_the_orientation() {
        let mut a = noise(30, 30, 5);
        let before = orientation(a.view()).unwrap();
        assert_ne!(before, 0);
        a.row_mut(3).mapv_inplace(|x| -x);
        assert_eq!(orientation(a.view()).unwrap(), -before);
        let swapped = a.select(ndarray::Axis(0), &(0..30).map(|i| i ^ 1).collect::<Vec<_>>());
        assert_eq!(orientation(swapped.view()).unwrap(), before, "fifteen swaps are an odd permutation");
        assert_eq!(orientation(array![[1.0, 2.0], [2.0, 4.0]].view()).unwrap(), 0);
        assert_eq!(orientation(Array2::eye(4).view()).unwrap(), 1);
    }

    /// Without noise, small damping recovers the solution with an error of about damping times the condition
    /// number.
    #[test]
    fn least_squares_recover_the_solution() {
        let (a, x) = (noise(30, 12, 7), noise(12, 1, 8).remove_axis(ndarray::Axis(1)));
        let got = damped_least_squares(a.view(), a.dot(&x).view(), 1e-10).unwrap();
        assert!((&got - &x).iter().all(|e| e.abs() < 1e-7), "{got} {x}");
        assert!(damped_least_squares(a.view(), x.view(), 1e-10).is_err(), "12 is not 30");
    }
}
