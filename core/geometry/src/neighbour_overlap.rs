//! The neighbours that two clouds of paired rows have in common.
//!
//! Widths may differ. Neighbours are Euclidean: normalise the rows first for cosine neighbours. Unrelated
//! clouds score about `k / (n - 1)` (mutual kNN) or half that (Jaccard). Equal distances are ordered at
//! random.
//!
//! ```
//! use chiasm_geometry::{neighbour_overlap::mutual_knn, neighbours::Neighbours};
//! let x = ndarray::Array2::from_shape_fn((20, 2), |(i, j)| (i * i + j) as f64);
//! let near = Neighbours::new(x.view(), 3, 0)?;
//! assert_eq!(mutual_knn(&near, &near)?, 1.0);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use crate::neighbours::{Neighbours, shared};
use crate::{Result, same};

/// Returns the mutual k-nearest-neighbour score, the mean of `|N_x(i) ∩ N_y(i)| / k`, in [0, 1] (Huh et al.
/// 2024, arXiv 2405.07987, appendix A).
///
/// # Errors
/// When the numbers of rows or of neighbours differ.
pub fn mutual_knn(x: &Neighbours, y: &Neighbours) -> Result<f64> {
    mean(x, y, |both, k| both / k)
}

/// Returns the neighbourhood Jaccard index, the mean of `|N_x(i) ∩ N_y(i)| / |N_x(i) ∪ N_y(i)|`, in [0, 1].
///
/// # Errors
/// The errors of [`mutual_knn`].
pub fn neighbourhood_jaccard(x: &Neighbours, y: &Neighbours) -> Result<f64> {
    mean(x, y, |both, k| both / (2.0 * k - both))
}

fn mean(x: &Neighbours, y: &Neighbours, score: impl Fn(f64, f64) -> f64) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.index.nrows(), y.index.nrows())?;
    same("neighbours of the second cloud", x.index.ncols(), y.index.ncols())?;
    let (n, k) = x.index.dim();
    Ok((0..n).map(|i| score(shared(&x.sorted(i), &y.sorted(i)) as f64, k as f64)).sum::<f64>() / n as f64)
}
