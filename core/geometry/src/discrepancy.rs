//! How far apart two samples of one space lie, no pairs needed: maximum mean discrepancy, Gaussian and sliced
//! Wasserstein distances, the modality gap.

use faer::Mat;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::canonical::nuclear_by_rows;
use crate::cloud::{Together, faer_rows, survey, together};
use crate::pairwise::{Points, median_square};
use crate::products::{product, symmetric};
use crate::random::Random;
use crate::real::Real;
use crate::{Error, Result, same};

/// Squared maximum mean discrepancy, both estimators.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mmd {
    /// The V-statistic, the squared distance of the mean embeddings: >= 0, too large by about `2 / n`.
    pub biased: f64,
    /// The U-statistic: 0 on average for samples of one distribution, so it may fall below.
    pub unbiased: f64,
    /// The kernel's `gamma`, in units of one over squared distance.
    pub gamma: f64,
}

/// Squared MMD of samples `x [n, d]`, `y [m, d]` with the kernel `exp(-gamma |a - b|²)` (Gretton et al. 2012,
/// JMLR 13, eq. 5 and lemma 6). No unit.
///
/// Without a `gamma` it is `1 / (2 median²)`, the median over the distances of different rows of both samples
/// together (section 8 there); of more than 2000 rows 2000 are looked at.
///
/// # Errors
/// When widths differ, a sample has fewer than two rows, a value is not finite, or the median distance is
/// zero.
pub fn mmd2_rbf<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, gamma: Option<f64>) -> Result<Mmd> {
    let Together { x, y, unit } = together(x, y, 2)?;
    let scaled = match gamma {
        Some(gamma) => gamma * unit * unit,
        None => 0.5 / median_square(&[&x, &y]),
    };
    if !(scaled > 0.0 && scaled.is_finite()) {
        return Err(Error::NoSpread("union of both clouds"));
    }
    let gamma = T::of(scaled);
    let (px, py) = (Points::new(&x), Points::new(&y));
    let (n, m) = (x.nrows() as f64, y.nrows() as f64);
    let (xx, yy, xy) = (px.kernel_sum(&px, gamma), py.kernel_sum(&py, gamma), px.kernel_sum(&py, gamma));
    Ok(Mmd {
        biased: (xx / (n * n) + yy / (m * m) - 2.0 * xy / (n * m)).max(0.0),
        unbiased: (xx - n) / (n * (n - 1.0)) + (yy - m) / (m * (m - 1.0)) - 2.0 * xy / (n * m),
        gamma: scaled / (unit * unit),
    })
}

/// Bures-Wasserstein distance: W2 between Gaussians with the means and covariances (over n) of `x [n, d]` and
/// `y [m, d]`.
///
/// `sqrt(|μx - μy|² + tr Σx + tr Σy - 2 tr (Σx^{1/2} Σy Σx^{1/2})^{1/2})` (Dowson and Landau 1982); the unit
/// of the input.
///
/// # Errors
/// When widths differ, a cloud is empty, or a value is not finite.
pub fn bures_w2<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    let Together { x, y, unit } = together(x, y, 1)?;
    let (mean_x, mean_y) = (survey(0, x.view(), 1)?.mean, survey(1, y.view(), 1)?.mean);
    let covariance = |cloud: &Array2<T>, mean: &ndarray::Array1<f64>| {
        let centred = cloud - &mean.mapv(T::of);
        let sums = symmetric(faer_rows(&centred).transpose());
        let n = cloud.nrows() as f64;
        Mat::from_fn(sums.nrows(), sums.nrows(), |i, j| sums[(i, j)] / n)
    };
    let (cx, cy) = (covariance(&x, &mean_x), covariance(&y, &mean_y));
    let trace = |m: &Mat<f64>| (0..m.nrows()).map(|i| m[(i, i)]).sum::<f64>();
    let apart = (&mean_x - &mean_y).mapv(|v| v * v).sum();
    let square = apart + trace(&cx) + trace(&cy) - 2.0 * nuclear_by_rows(cx, cy)?;
    Ok(unit * square.max(0.0).sqrt())
}

/// Sliced W2: the root of the mean squared W2 of the projections of `x [n, d]` and `y [m, d]` onto the unit
/// rows of `directions [p, d]` (Bonneel et al. 2015); the unit of the input.
///
/// # Errors
/// When widths differ, a cloud is empty, a value is not finite, or there are no directions.
pub fn sliced_w2<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    directions: ArrayView2<'_, f64>,
) -> Result<f64> {
    let Together { x, y, unit } = together(x, y, 1)?;
    same("width of the directions", x.ncols(), directions.ncols())?;
    if directions.nrows() == 0 {
        return Err(Error::Setting { what: "directions", expected: "at least 1".into(), got: "0".into() });
    }
    let axes = directions.mapv(T::of);
    let along = |cloud: &Array2<T>| product(faer_rows(cloud), faer_rows(&axes).transpose());
    let (px, py) = (along(&x), along(&y));
    let squares: Vec<f64> = (0..directions.nrows())
        .into_par_iter()
        .map(|p| w2_on_line(px.col(p).iter().copied().collect(), py.col(p).iter().copied().collect()))
        .collect();
    Ok(unit * (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}

/// `count` directions `[count, d]` drawn evenly from the unit sphere.
pub fn directions(d: usize, count: usize, seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    let mut axes = Array2::from_shape_simple_fn((count, d), || random.normal());
    for mut row in axes.outer_iter_mut() {
        row /= row.dot(&row).sqrt().max(f64::MIN_POSITIVE);
    }
    axes
}

/// Squared W2 of samples on the line, equal weights within each: quantiles meet.
fn w2_on_line(mut x: Vec<f64>, mut y: Vec<f64>) -> f64 {
    x.sort_unstable_by(f64::total_cmp);
    y.sort_unstable_by(f64::total_cmp);
    let (n, m) = (x.len(), y.len());
    let (mut i, mut j, mut done, mut sum) = (0, 0, 0, 0.0);
    // Mass in units of 1 / (n m), so that it is exact.
    while i < n && j < m {
        let next = ((i + 1) * m).min((j + 1) * n);
        sum += (next - done) as f64 * (x[i] - y[j]).powi(2);
        done = next;
        i += usize::from(next == (i + 1) * m);
        j += usize::from(next == (j + 1) * n);
    }
    sum / (n as f64 * m as f64)
}

/// Modality gap: the distance between the mean unit vectors of `x [n, d]` and `y [m, d]` (Liang et al. 2022,
/// arXiv
/// 2203.02053, section 2). In [0, 2]; the unit is the radius of the sphere.
///
/// # Errors
/// When widths differ, a cloud is empty, a value is not finite, or a row is zero and so has no direction.
pub fn modality_gap<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    same("width of the second cloud (this measure needs one common space)", x.ncols(), y.ncols())?;
    let mean = |side: usize, cloud: ArrayView2<'_, T>| {
        let what = crate::cloud::NAMES[side];
        survey(side, cloud, 1)?;
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
