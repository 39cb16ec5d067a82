//! Neighbourhoods that two clouds of paired rows share. Widths may differ; rows count as they are given
//! (normalise them first for cosine neighbourhoods). Chance is about `k / (n - 1)` for both; equal distances
//! are ordered at random.

use crate::neighbours::{Neighbours, shared};
use crate::{Result, same};

/// Mutual k-nearest-neighbour score: the mean of `|N_x(i) ∩ N_y(i)| / k` (Huh et al. 2024, arXiv 2405.07987,
/// appendix A).
///
/// In [0, 1], no unit.
///
/// # Errors
/// When the two have other numbers of rows or of neighbours.
pub fn mutual_knn(x: &Neighbours, y: &Neighbours) -> Result<f64> {
    mean(x, y, |both, k| both / k)
}

/// Neighbourhood Jaccard index: the mean of `|N_x(i) ∩ N_y(i)| / |N_x(i) ∪ N_y(i)|`, in [0, 1], no unit.
///
/// # Errors
/// As [`mutual_knn`].
pub fn neighbourhood_jaccard(x: &Neighbours, y: &Neighbours) -> Result<f64> {
    mean(x, y, |both, k| both / (2.0 * k - both))
}

fn mean(x: &Neighbours, y: &Neighbours, score: impl Fn(f64, f64) -> f64) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.index.nrows(), y.index.nrows())?;
    same("neighbours of the second cloud", x.index.ncols(), y.index.ncols())?;
    let (n, k) = x.index.dim();
    Ok((0..n).map(|i| score(shared(&x.sorted(i), &y.sorted(i)) as f64, k as f64)).sum::<f64>() / n as f64)
}
