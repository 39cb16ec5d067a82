//! Quadratic assignment: the permutation under which two similarity matrices agree best, by local search from
//! many random starts.
//!
//! For centred X and Y the objective `sum_ij X_ij Y_p(i)p(j) / (|X| |Y|)` is linear CKA (Kornblith et al.
//! 2019, arXiv 1905.00414). Each start swaps two assignments as long as that raises it. Swapping the targets
//! i' and j' of i and j adds `(X_ii - X_jj) (Y_j'j' - Y_i'i') + 2 sum_k (X_ik - X_jk) (Y_j'k' - Y_i'k')`. The
//! result is a local optimum of an NP-hard problem. For tens of points, such as centroids, thousands of
//! starts take less than a second.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::product::unit_hash;
use crate::{Result, cost::finite, same};

/// Returns the best permutation found and its linear CKA, at most 1. Source point i is assigned target point
/// `permutation[i]`.
///
/// `x` and `y` are symmetric similarity matrices `[n, n]`. The search improves `starts` random permutations,
/// which depend on `seed`.
///
/// ```
/// let x = ndarray::array![[1.0, 0.5, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 3.0]];
/// let y = ndarray::array![[3.0, 0.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.5, 2.0]];
/// let (permutation, cka) = chiasm_transport::quadratic_assignment(x.view(), y.view(), 10, 1)?;
/// assert_eq!(permutation, [1, 2, 0]);
/// assert!((cka - 1.0).abs() < 1e-12);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When a matrix is empty, not finite or not square, or the sizes differ.
pub fn quadratic_assignment(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    starts: usize,
    seed: u64,
) -> Result<(Vec<usize>, f64)> {
    finite("source similarities", x, f64::is_finite)?;
    finite("target similarities", y, f64::is_finite)?;
    same("columns of the source similarities", x.nrows(), x.ncols())?;
    same("rows of the target similarities", x.nrows(), y.nrows())?;
    same("columns of the target similarities", x.nrows(), y.ncols())?;
    let (x, y) = (centred(x), centred(y));
    let search = |start: usize| {
        let mut places: Vec<usize> = (0..x.nrows()).collect();
        let key = |i: &usize| unit_hash(*i as u64, seed.wrapping_add(1 + start as u64));
        places.sort_by(|i, j| key(i).total_cmp(&key(j)));
        improve(&x, &y, &mut places);
        let value: f64 = x.indexed_iter().map(|((i, j), x)| x * y[[places[i], places[j]]]).sum();
        (value, start, places)
    };
    let better = |a: (f64, usize, Vec<usize>), b: (f64, usize, Vec<usize>)| {
        if b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).is_gt() { b } else { a }
    };
    let none = || (f64::NEG_INFINITY, usize::MAX, Vec::new());
    let (value, _, places) = (0..starts.max(1)).into_par_iter().map(search).reduce(none, better);
    let size = |m: &Array2<f64>| m.iter().map(|v| v * v).sum::<f64>().sqrt();
    let scale = size(&x) * size(&y);
    Ok((places, if scale > 0.0 { value / scale } else { 0.0 }))
}

/// Swaps assignments until no swap raises the objective.
fn improve(x: &Array2<f64>, y: &Array2<f64>, places: &mut [usize]) {
    let n = places.len();
    let scale = x.iter().zip(y).fold(0.0_f64, |top, (x, y)| top.max(x.abs() * y.abs()));
    let mut swapped = true;
    while swapped {
        swapped = false;
        for i in 0..n {
            for j in 0..i {
                let (p, q) = (places[i], places[j]);
                let mut gain = (x[[i, i]] - x[[j, j]]) * (y[[q, q]] - y[[p, p]]);
                for k in (0..n).filter(|&k| k != i && k != j) {
                    gain += 2.0 * (x[[i, k]] - x[[j, k]]) * (y[[q, places[k]]] - y[[p, places[k]]]);
                }
                if gain > 1e-12 * scale {
                    places.swap(i, j);
                    swapped = true;
                }
            }
        }
    }
}

/// Returns the matrix with the means of its rows and columns removed.
fn centred(m: ArrayView2<'_, f64>) -> Array2<f64> {
    let n = m.nrows() as f64;
    let rows = m.sum_axis(Axis(1)) / n;
    let columns = m.sum_axis(Axis(0)) / n;
    let mean = rows.sum() / n;
    Array2::from_shape_fn(m.dim(), |(i, j)| m[[i, j]] - rows[i] - columns[j] + mean)
}
