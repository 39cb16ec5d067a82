//! How much of a target cloud another cloud reaches.
//!
//! Coverage of Naeem, Oh, Uh, Choi and Yoo ("Reliable fidelity and diversity metrics", 2020): the share of
//! targets whose ball, as wide as the distance to their k-th neighbour among the targets, holds at least one
//! point of the other cloud. Two equally large samples of one distribution reach about 1 - 2⁻ᵏ.

use ndarray::ArrayView2;

use crate::spectrum::distances;
use crate::{Error, Result, same};

/// Share of the rows of `targets [m, d]` whose k-neighbourhood holds a row of `points [n, d]`.
///
/// # Errors
/// When widths differ, or there are not more than `neighbours` targets.
pub fn coverage(points: ArrayView2<'_, f64>, targets: ArrayView2<'_, f64>, neighbours: usize) -> Result<f64> {
    same("width of the points", targets.ncols(), points.ncols())?;
    if neighbours == 0 || neighbours >= targets.nrows() {
        let expected = format!("1 to {}", targets.nrows().saturating_sub(1));
        return Err(Error::Setting { what: "neighbours", expected, got: neighbours.to_string() });
    }
    let among = distances(targets, targets)?;
    let between = distances(targets, points)?;
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
