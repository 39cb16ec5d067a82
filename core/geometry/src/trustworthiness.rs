//! Trustworthiness and continuity: how far the neighbours in one cloud are from each other in the other one.
//!
//! ```
//! use chiasm_geometry::{neighbours::Neighbours, trustworthiness::trustworthiness};
//! let x = ndarray::Array2::from_shape_fn((20, 2), |(i, j)| (i * i + j) as f64);
//! let near = Neighbours::new(x.view(), 3, 0)?;
//! assert_eq!(trustworthiness(x.view(), &near)?, 1.0);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::cloud::centred;
use crate::neighbours::Neighbours;
use crate::pairwise::{PointSet, ranges};
use crate::real::Real;
use crate::{Error, Result, same};

/// Returns the trustworthiness of the neighbours `near` of another cloud, of whose rows `x [n, d]` are the
/// partners (Venna and Kaski 2001, "Neighborhood preservation in nonlinear projection methods").
///
/// It is `1 - 2 / (n k (2n - 3k - 1)) Σ_i Σ_j max(0, r(i, j) - k)` over the `k` neighbours `j` of each row
/// `i`, where `r(i, j)` is the rank of `j` by its distance from `i` in `x`, counted from 1. In [0, 1]; 1 if
/// all of them are neighbours in `x` too, and about 0.5 for unrelated clouds. Distances are Euclidean, in
/// `f64`. Rows at equal distances share the mean of their ranks.
///
/// With a cloud and its image, `x` is the cloud and `near` the neighbours in the image: a low value means
/// that the image brings together what is apart. With the roles exchanged this is the continuity: a low value
/// means that the image tears apart what is together.
///
/// # Errors
/// When the numbers of rows differ, a value is not finite, or `k` is not below half of the number of rows.
pub fn trustworthiness<T: Real>(x: ArrayView2<'_, T>, near: &Neighbours) -> Result<f64> {
    same("rows with neighbours (row i belongs to row i)", x.nrows(), near.index.nrows())?;
    let x = x.mapv(Into::<f64>::into);
    let cloud = centred(0, x.view(), 2)?;
    let (n, k) = near.index.dim();
    if 2 * k >= n {
        let expected = format!("1 to {} (below half of the number of rows)", (n - 1) / 2);
        return Err(Error::Setting { what: "neighbours k", expected, got: k.to_string() });
    }
    let points = PointSet::new(&cloud);
    let excess: Vec<f64> = (ranges(n).into_par_iter())
        .map(|rows| {
            let mut block = vec![0.0; rows.len() * n];
            points.tile(rows.clone(), &points, 0..n, &mut block);
            let excess_of = |(i, row): (usize, &[f64])| -> f64 {
                let ranks = near.index.row(i).into_iter().map(|&j| rank(row, i, j as usize));
                ranks.map(|rank| (rank - k as f64).max(0.0)).sum()
            };
            rows.zip(block.chunks(n)).map(excess_of).sum()
        })
        .collect();
    let most = (n * k) as f64 * (2 * n - 3 * k - 1) as f64 / 2.0;
    Ok(1.0 - excess.into_iter().sum::<f64>() / most)
}

/// Returns the rank of row `j` by its distance from row `i`, given the distances of all rows from it.
fn rank(distances: &[f64], i: usize, j: usize) -> f64 {
    let own = distances[j];
    let (mut nearer, mut equal) = (0, 0);
    for (other, &distance) in distances.iter().enumerate() {
        let counts = other != i && other != j;
        nearer += usize::from(counts && distance < own);
        equal += usize::from(counts && distance == own);
    }
    1.0 + nearer as f64 + equal as f64 / 2.0
}
