//! Coverage: how much of a target cloud another cloud reaches.
//!
//! The share of targets that have a point of the other cloud within the distance to their k-th nearest
//! neighbour among the targets (Naeem, Oh, Uh, Choi and Yoo 2020, "Reliable fidelity and diversity metrics").
//! Two equally large samples of one distribution have a coverage of about 1 - 2⁻ᵏ.
//!
//! ```
//! use chiasm_geometry::coverage::coverage;
//! let targets = ndarray::Array2::from_shape_fn((20, 1), |(i, _)| i as f64);
//! let half = targets.slice(ndarray::s![..10, ..]);
//! assert_eq!(coverage(half, targets.view(), 1)?, 0.55);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::ArrayView2;

use crate::{Error, Result, same, squared_distances};

/// Returns the share of the rows of `targets [m, d]` whose k-neighbourhood holds a row of `points [n, d]`.
///
/// # Errors
/// When widths differ, or `neighbours` is not in `1..m`.
pub fn coverage(points: ArrayView2<'_, f64>, targets: ArrayView2<'_, f64>, neighbours: usize) -> Result<f64> {
    same("width of the points", targets.ncols(), points.ncols())?;
    if neighbours == 0 || neighbours >= targets.nrows() {
        let expected = format!("1 to {}", targets.nrows().saturating_sub(1));
        return Err(Error::Setting { what: "neighbours", expected, got: neighbours.to_string() });
    }
    let among = squared_distances(targets, targets)?;
    let between = squared_distances(targets, points)?;
    let reached = |target: &usize| {
        let mut own = among.row(*target).to_vec();
        own[*target] = f64::INFINITY;
        let radius = *own.select_nth_unstable_by(neighbours - 1, f64::total_cmp).1;
        between.row(*target).iter().any(|d| *d <= radius)
    };
    Ok((0..targets.nrows()).filter(reached).count() as f64 / targets.nrows() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn a_cloud_covers_itself_and_one_cluster_covers_half() {
        let targets =
            Array2::from_shape_fn((40, 2), |(i, j)| if j == 0 { (i % 2 * 100) as f64 } else { i as f64 });
        assert_eq!(coverage(targets.view(), targets.view(), 3).unwrap(), 1.0);
        let half = targets.select(ndarray::Axis(0), &(0..40).step_by(2).collect::<Vec<_>>());
        assert_eq!(coverage(half.view(), targets.view(), 3).unwrap(), 0.5);
        assert!(coverage(targets.view(), array![[0.0, 0.0]].view(), 1).is_err());
    }
}
