//! Distances of two unpaired samples of one space: maximum mean discrepancy, Bures-Wasserstein and sliced
//! Wasserstein distances, the modality gap.
//!
//! ```
//! use chiasm_geometry::discrepancy::{bures_w2, mmd2_rbf};
//! let x = ndarray::array![[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]];
//! assert!((bures_w2(x.view(), (&x + 3.0).view())? - 18.0_f64.sqrt()).abs() < 1e-6);
//! assert!(mmd2_rbf(x.view(), x.view(), None)?.biased < 1e-12);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use faer::Mat;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::canonical::nuclear_by_rows;
use crate::cloud::{CommonFrame, cloud_stats, common_frame, faer_rows};
use crate::pairwise::{PointSet, median_square};
use crate::products::{product, symmetric};
use crate::random::Random;
use crate::real::Real;
use crate::{Error, Result, same};
use chiasm_transport::balanced;

/// Squared maximum mean discrepancy, with both estimators.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Mmd {
    /// The V-statistic, the squared distance of the mean embeddings: >= 0, too large by about `2 / n`.
    pub biased: f64,
    /// The U-statistic: 0 on average for samples of one distribution, so it can be negative.
    pub unbiased: f64,
    /// The kernel's `gamma`, in units of one over squared distance.
    pub gamma: f64,
}

/// Returns the squared MMD of the samples `x [n, d]` and `y [m, d]` with the kernel `exp(-gamma |a - b|²)`
/// (Gretton et al. 2012, JMLR 13, eq. 5 and lemma 6).
///
/// The default `gamma` is `1 / (2 median²)`, where the median is over the distances of different rows of the
/// union (section 8 of the paper), estimated from at most 2000 rows.
///
/// # Errors
/// When widths differ, a sample has fewer than two rows, a value is not finite, or the median distance is
/// zero.
pub fn mmd2_rbf<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, gamma: Option<f64>) -> Result<Mmd> {
    let CommonFrame { x, y, unit } = common_frame(x.view(), y.view(), 2)?;
    let scaled = match gamma {
        Some(gamma) => gamma * unit * unit,
        None => 0.5 / median_square(&[&x, &y]),
    };
    if !(scaled > 0.0 && scaled.is_finite()) {
        return Err(Error::NoSpread("union of both clouds"));
    }
    let gamma = T::of(scaled);
    let (px, py) = (PointSet::new(&x), PointSet::new(&y));
    let (n, m) = (px.len() as f64, py.len() as f64);
    let (xx, yy, xy) = (px.kernel_sum(&px, gamma), py.kernel_sum(&py, gamma), px.kernel_sum(&py, gamma));
    Ok(Mmd {
        biased: (xx / (n * n) + yy / (m * m) - 2.0 * xy / (n * m)).max(0.0),
        unbiased: (xx - n) / (n * (n - 1.0)) + (yy - m) / (m * (m - 1.0)) - 2.0 * xy / (n * m),
        gamma: scaled / (unit * unit),
    })
}

/// Returns the Bures-Wasserstein distance of `x [n, d]` and `y [m, d]`, in the unit of the input: the W2
/// distance of Gaussians with their means and covariances.
///
/// `sqrt(|μx - μy|² + tr Σx + tr Σy - 2 tr (Σx^{1/2} Σy Σx^{1/2})^{1/2})` (Dowson and Landau 1982), with
/// covariances divided by n.
///
/// # Errors
/// When widths differ, a cloud is empty, or a value is not finite.
pub fn bures_w2<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    let CommonFrame { x, y, unit } = common_frame(x.view(), y.view(), 1)?;
    let (x, y) = (x.rows, y.rows);
    let (mean_x, mean_y) = (cloud_stats(0, x.view(), 1)?.mean, cloud_stats(1, y.view(), 1)?.mean);
    let covariance = |cloud: &Array2<T>, mean: &ndarray::Array1<f64>| {
        let centred = cloud - &mean.mapv(T::of);
        let sums = symmetric(faer_rows(&centred).transpose());
        let n = cloud.nrows() as f64;
        Mat::from_fn(sums.nrows(), sums.nrows(), |i, j| sums[(i, j)] / n)
    };
    let (cx, cy) = (covariance(&x, &mean_x), covariance(&y, &mean_y));
    let trace = |m: &Mat<f64>| (0..m.nrows()).map(|i| m[(i, i)]).sum::<f64>();
    let shift = (&mean_x - &mean_y).mapv(|v| v * v).sum();
    let square = shift + trace(&cx) + trace(&cy) - 2.0 * nuclear_by_rows(cx, cy)?;
    Ok(unit * square.max(0.0).sqrt())
}

/// Returns the sliced W2 distance of `x [n, d]` and `y [m, d]`, in the unit of the input: the root of the
/// mean squared W2 of their projections onto the unit rows of `directions [p, d]` (Bonneel et al. 2015).
///
/// # Errors
/// When widths differ, a cloud is empty, a value is not finite, or there are no directions.
pub fn sliced_w2<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    directions: ArrayView2<'_, f64>,
) -> Result<f64> {
    sliced(x, y, directions, w2_on_line)
}

/// Returns the sliced W2 distance of `x [n, d]` with the weights `a` and `y [m, d]` with the weights `b`, as
/// [`sliced_w2`] does for equal weights. The weights of both sides have one sum, and the distance is that of
/// weights scaled to the sum one.
///
/// ```
/// use chiasm_geometry::discrepancy::weighted_sliced_w2;
/// use ndarray::array;
///
/// // On a line the only direction is the line: half of the mass moves by 2.
/// let (x, y, axis) = (array![[0.0], [5.0]], array![[0.0], [2.0], [5.0]], array![[1.0]]);
/// let distance = weighted_sliced_w2(x.view(), &[1.0, 1.0], y.view(), &[0.0, 1.0, 1.0], axis.view())?;
/// assert!((distance - 2.0_f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), chiasm_geometry::Error>(())
/// ```
///
/// # Errors
/// As [`sliced_w2`]; also when the weights are not one for each row, not finite, negative, all zero, or of
/// unequal sums.
pub fn weighted_sliced_w2<T: Real>(
    x: ArrayView2<'_, T>,
    a: &[f64],
    y: ArrayView2<'_, T>,
    b: &[f64],
    directions: ArrayView2<'_, f64>,
) -> Result<f64> {
    let (a, b, _) = balanced(a, b, (x.nrows(), y.nrows()))?;
    let sorted = |places: Vec<f64>, weights: &[f64]| {
        let mut points: Vec<(f64, f64)> = places.into_iter().zip(weights.iter().copied()).collect();
        points.sort_unstable_by(|p, q| p.0.total_cmp(&q.0));
        points
    };
    sliced(x, y, directions, |px, py| w2_of_weights(sorted(px, &a), sorted(py, &b)))
}

/// Returns the root of the mean of `squared_w2` over the projections of both clouds onto `directions`.
fn sliced<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    directions: ArrayView2<'_, f64>,
    squared_w2: impl Fn(Vec<f64>, Vec<f64>) -> f64 + Sync,
) -> Result<f64> {
    let CommonFrame { x, y, unit } = common_frame(x.view(), y.view(), 1)?;
    same("width of the directions", x.rows.ncols(), directions.ncols())?;
    if directions.nrows() == 0 {
        return Err(Error::Setting { what: "directions", expected: "at least 1".into(), got: "0".into() });
    }
    let mut sum = 0.0;
    for block in directions.axis_chunks_iter(Axis(0), DIRECTIONS_AT_ONCE) {
        let axes = block.mapv(T::of);
        let along = |cloud: &Array2<T>| product(faer_rows(cloud), faer_rows(&axes).transpose());
        let (px, py) = (along(&x.rows), along(&y.rows));
        let squares: Vec<f64> = (0..block.nrows())
            .into_par_iter()
            .map(|p| squared_w2(px.col(p).iter().copied().collect(), py.col(p).iter().copied().collect()))
            .collect();
        sum += squares.iter().sum::<f64>();
    }
    Ok(unit * (sum / directions.nrows() as f64).sqrt())
}

/// The directions whose projections are in memory at the same time.
const DIRECTIONS_AT_ONCE: usize = 256;

/// Returns the squared W2 of sorted points on the line, each with its weight, by matching quantiles.
fn w2_of_weights(mut x: Vec<(f64, f64)>, mut y: Vec<(f64, f64)>) -> f64 {
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    while let (Some(own), Some(other)) = (x.get_mut(i), y.get_mut(j)) {
        let moved = own.1.min(other.1);
        sum += moved * (own.0 - other.0).powi(2);
        (own.1, other.1) = (own.1 - moved, other.1 - moved);
        i += usize::from(own.1 <= 0.0);
        j += usize::from(other.1 <= 0.0);
    }
    sum
}

/// Draws `count` uniform directions `[count, d]` from the unit sphere.
pub fn directions(d: usize, count: usize, seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    let mut axes = Array2::from_shape_simple_fn((count, d), || random.normal());
    for mut row in axes.outer_iter_mut() {
        row /= row.dot(&row).sqrt().max(f64::MIN_POSITIVE);
    }
    axes
}

/// Returns the squared W2 of samples on the line with equal weights, by matching quantiles.
fn w2_on_line(mut x: Vec<f64>, mut y: Vec<f64>) -> f64 {
    x.sort_unstable_by(f64::total_cmp);
    y.sort_unstable_by(f64::total_cmp);
    let (n, m) = (x.len(), y.len());
    let (mut i, mut j, mut done, mut sum) = (0, 0, 0, 0.0);
    // Masses are integers in units of 1 / (n m).
    while i < n && j < m {
        let next = ((i + 1) * m).min((j + 1) * n);
        sum += (next - done) as f64 * (x[i] - y[j]).powi(2);
        done = next;
        i += usize::from(next == (i + 1) * m);
        j += usize::from(next == (j + 1) * n);
    }
    sum / (n as f64 * m as f64)
}

/// Returns the modality gap, the distance between the mean unit vectors of `x [n, d]` and `y [m, d]`, in [0,
/// 2] (Liang et al. 2022, arXiv 2203.02053, section 2).
///
/// # Errors
/// When widths differ, a cloud is empty, a value is not finite, or a row is zero.
pub fn modality_gap<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    same("width of the second cloud (this measure needs one common space)", x.ncols(), y.ncols())?;
    let mean = |side: usize, cloud: ArrayView2<'_, T>| {
        let what = crate::cloud::NAMES[side];
        cloud_stats(side, cloud, 1)?;
        let mut sum = ndarray::Array1::<f64>::zeros(cloud.ncols());
        for row in cloud.axis_iter(Axis(0)) {
            let row = row.mapv(Into::<f64>::into);
            let top = row.iter().fold(0.0f64, |top, v| top.max(v.abs()));
            if top == 0.0 {
                return Err(Error::NoDirection(what));
            }
            let row = row / top;
            sum += &(&row / row.dot(&row).sqrt());
        }
        Ok(sum / cloud.nrows() as f64)
    };
    let gap = mean(0, x)? - mean(1, y)?;
    Ok(gap.dot(&gap).sqrt())
}
