//! Whether partners find each other in one space: FOSCTTM.

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::cloud::together;
use crate::pairwise::{Points, ranges};
use crate::real::Real;
use crate::{Result, same};

/// Fraction of samples closer than the true match, both ways, of paired rows `x [n, d]`, `y [n, d]` (Liu et al. 2019,
/// "Jointly embedding multiple single-cell omics measurements", section 3).
///
/// Euclidean distances in `f64`; others as near as the partner count half, so a constant map scores 0.5, chance. In
/// [0, 1], no unit; 0 is best.
///
/// # Errors
/// When shapes differ, there are fewer than two rows, or a value is not finite.
pub fn foscttm<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    same("rows of the second cloud (row i belongs to row i)", x.nrows(), y.nrows())?;
    let both = together(x, y, 2)?;
    let (x, y) = (both.x.mapv(Into::<f64>::into), both.y.mapv(Into::<f64>::into));
    let (px, py) = (Points::new(&x), Points::new(&y));
    let n = x.nrows();
    let own: Vec<f64> = (0..n).map(|i| (&x.row(i) - &y.row(i)).mapv(|v| v * v).sum()).collect();
    // What the rounding of a product may do to a distance: nearer than that is a tie.
    let size = x.iter().chain(&y).fold(0.0f64, |top, v| top.max(v.abs())).powi(2) * x.ncols() as f64;
    let rounding = 64.0 * f64::EPSILON * size;
    let nearer = |square: f64, own: f64| {
        0.5 * (f64::from(square < own - rounding) + f64::from(square <= own + rounding))
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
