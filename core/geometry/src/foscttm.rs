//! FOSCTTM: the fraction of samples that are closer than the true match.
//!
//! ```
//! use chiasm_geometry::foscttm::foscttm;
//! let x = ndarray::array![[0.0, 0.0], [1.0, 0.0], [0.0, 5.0]];
//! assert_eq!(foscttm(x.view(), (&x + 0.1).view())?, 0.0);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::cloud::common_frame;
use crate::pairwise::{PointSet, ranges};
use crate::real::Real;
use crate::{Result, same};

/// Accepted error of a distance, in units of the input type's rounding of the longest vector. Compare
/// [`crate::retrieval::TIE`].
const TIE: f64 = 8.0;

/// Returns the fraction of samples that are closer than the true match, averaged over both directions, of the
/// paired rows `x [n, d]` and `y [n, d]` (Liu et al. 2019, "Jointly embedding multiple single-cell omics
/// measurements", section 3).
///
/// In [0, 1]; 0 is best and 0.5 is chance. Distances are Euclidean, in `f64`. Samples as close as the match,
/// up to the rounding of the input type, count half, so that a constant map scores 0.5.
///
/// # Errors
/// When shapes differ, there are fewer than two rows, or a value is not finite.
pub fn foscttm<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.nrows(), y.nrows())?;
    let (x, y) = (x.mapv(Into::<f64>::into), y.mapv(Into::<f64>::into));
    let both = common_frame(x.view(), y.view(), 2)?;
    // Bound of the effect that rounding of the input has on a distance.
    let shift = TIE * T::EPSILON * longest(x.view(), both.unit).max(longest(y.view(), both.unit));
    let (px, py) = (PointSet::new(&both.x), PointSet::new(&both.y));
    let n = x.nrows();
    let own: Vec<f64> = (0..n).map(|i| px.square(i, &py, i)).collect();
    let nearer = |square: f64, own: f64| {
        // The first term bounds the error of a squared distance.
        let slack = 1e-9 * own + 2.0 * own.sqrt() * shift + shift * shift;
        0.5 * (f64::from(square < own - slack) + f64::from(square <= own + slack))
    };
    let sums: Vec<f64> = (ranges(n).into_par_iter())
        .map(|rows| {
            let mut block = vec![0.0; rows.len() * n];
            px.tile(rows.clone(), &py, 0..n, &mut block);
            let mut sum = 0.0;
            for (i, row) in rows.zip(block.chunks(n)) {
                let others = row.iter().enumerate().filter(|(j, _)| *j != i);
                sum += others.map(|(j, &d)| nearer(d, own[i]) + nearer(d, own[j])).sum::<f64>();
            }
            sum
        })
        .collect();
    Ok(sums.into_iter().sum::<f64>() / (2 * n * (n - 1)) as f64)
}

/// Returns the length of the longest row, in units of `unit`.
fn longest(cloud: ArrayView2<'_, f64>, unit: f64) -> f64 {
    let square = |v: &f64| (v / unit).powi(2);
    let squares = cloud.outer_iter().map(|row| row.iter().map(square).sum::<f64>());
    squares.fold(0.0f64, f64::max).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// Every row is the same vector up to one rounding, far from the origin.
    #[test]
    fn a_constant_map_is_chance_up_to_rounding() {
        let map = |turn: usize| {
            Array2::from_shape_fn((30, 20), |(i, j)| {
                let value = 3.0 + (j as f32).sin();
                if (i * turn + j).is_multiple_of(3) { value * (1.0 + f32::EPSILON) } else { value }
            })
        };
        assert_eq!(foscttm(map(1).view(), map(7).view()).unwrap(), 0.5);
    }
}
