//! Squared distances in tiles of one matrix product each, computed in parallel. If both sides are the same
//! cloud, only half of the tiles are computed.
//!
//! `|x_i - y_j|² = |x_i|² + |y_j|² - 2 <x_i, y_j>` loses digits for points that are close to each other and
//! far from the mean. Squared distances below the share [`Real::EXPANDED`] of the norms are therefore
//! computed again as sums of squared differences of the rows as they were given. Every squared distance has a
//! relative error of about 1e-5 in single and 1e-9 in double precision, and that of equal rows is zero. Sums
//! over tiles are added in a fixed order and reproducible.

use faer::{Accum, MatMut, Par, linalg::matmul::matmul};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::ops::Range;

use crate::cloud::{Cloud, common_frame, faer_rows};
use crate::kernels::{expand_squares, squared_difference, sum_of_exponentials};
use crate::random::Random;
use crate::real::Real;

/// Rows and columns of a tile, which fits into the second-level cache.
pub(crate) const TILE: usize = 384;
/// Maximum number of points for the median distance; larger clouds are sampled.
const MEDIAN_POINTS: usize = 2000;

/// Centred points and their squared norms. Two sets that are compared must have been moved alike.
pub(crate) struct PointSet<'a, T: Real> {
    cloud: &'a Cloud<'a, T>,
    squares: Vec<T>,
}

impl<'a, T: Real> PointSet<'a, T> {
    /// Computes the squared norms of the rows of a cloud.
    pub fn new(cloud: &'a Cloud<'a, T>) -> Self {
        let rows = &cloud.rows;
        let square = |row: usize| T::of(rows.row(row).iter().map(|&v| v.into() * v.into()).sum());
        Self { cloud, squares: (0..rows.nrows()).into_par_iter().map(square).collect() }
    }

    pub fn len(&self) -> usize {
        self.squares.len()
    }

    /// Writes the squared distances of some rows to some rows of `other` to `out`, row by row.
    pub fn tile(&self, rows: Range<usize>, other: &Self, columns: Range<usize>, out: &mut [T]) {
        let (x, y) = (faer_rows(&self.cloud.rows), faer_rows(&other.cloud.rows));
        let (x, y) = (x.subrows(rows.start, rows.len()), y.subrows(columns.start, columns.len()));
        let product = MatMut::from_row_major_slice_mut(out, rows.len(), columns.len());
        matmul(product, Accum::Replace, x, y.transpose(), T::of(-2.0), Par::Seq);
        let (own, others) = (&self.squares[rows.clone()], &other.squares[columns.clone()]);
        if !expand_squares(out, own, others) {
            return;
        }
        let nothing = T::of(0.0);
        for (i, row) in rows.zip(out.chunks_mut(columns.len())) {
            for (j, square) in columns.clone().zip(row).filter(|(_, square)| **square < nothing) {
                *square = T::of(self.square(i, other, j));
            }
        }
    }

    /// Returns the squared distance of row i and row j of `other`, from the rows as they were given.
    pub fn square(&self, i: usize, other: &Self, j: usize) -> f64 {
        squared_difference(self.cloud.given(i), other.cloud.given(j), 1.0 / self.cloud.unit)
    }

    /// Returns `Σ exp(-gamma d²_ij)` over all rows i and all rows j of `other`. For a cloud and itself half
    /// of the tiles are computed.
    pub fn kernel_sum(&self, other: &Self, gamma: T) -> f64 {
        let one = std::ptr::eq(self, other);
        let tiles = if one { half_tiles(self.len()) } else { tiles(self.len(), other.len()) };
        let sums: Vec<f64> = (tiles.into_par_iter())
            .map_init(buffer, |buffer: &mut Vec<T>, (rows, columns)| {
                let values = &mut buffer[..rows.len() * columns.len()];
                self.tile(rows.clone(), other, columns.clone(), values);
                let sum = sum_of_exponentials(values, gamma);
                if one && rows != columns { 2.0 * sum } else { sum }
            })
            .collect();
        sums.into_iter().sum()
    }
}

/// The rows and columns of a tile.
pub(crate) type Tile = (Range<usize>, Range<usize>);

/// Allocates a buffer for one tile.
pub(crate) fn buffer<T: Real>() -> Vec<T> {
    vec![T::of(0.0); TILE * TILE]
}

/// Splits `n` rows into the ranges of tiles.
pub(crate) fn ranges(n: usize) -> Vec<Range<usize>> {
    (0..n).step_by(TILE).map(|start| start..(start + TILE).min(n)).collect()
}

/// Returns all tiles of an `n x m` matrix.
pub(crate) fn tiles(n: usize, m: usize) -> Vec<Tile> {
    let columns = ranges(m);
    ranges(n).into_iter().flat_map(|rows| columns.iter().map(move |c| (rows.clone(), c.clone()))).collect()
}

/// Returns the tiles on and above the diagonal of an `n x n` matrix.
pub(crate) fn half_tiles(n: usize) -> Vec<Tile> {
    tiles(n, n).into_iter().filter(|(rows, columns)| rows.start <= columns.start).collect()
}

/// Returns the squared distances `[n, m]` between two clouds, in `f64`.
pub(crate) fn squares<T: Real>(x: &PointSet<'_, T>, y: &PointSet<'_, T>) -> Array2<f64> {
    let (n, m) = (x.len(), y.len());
    let blocks: Vec<Vec<f64>> = (ranges(n).into_par_iter())
        .map(|rows| {
            let mut block = vec![T::of(0.0); rows.len() * m];
            x.tile(rows, y, 0..m, &mut block);
            block.into_iter().map(Into::into).collect()
        })
        .collect();
    Array2::from_shape_vec((n, m), blocks.concat()).unwrap_or_default()
}

/// Returns the distances `[n, n]` within a cloud, in `f64`: symmetric, with zeros on the diagonal.
pub(crate) fn distances_within<T: Real>(x: &Cloud<'_, T>) -> Array2<f64> {
    let points = PointSet::new(x);
    let mut all = squares(&points, &points).mapv_into(f64::sqrt);
    for i in 0..all.nrows() {
        all[[i, i]] = 0.0;
        for j in 0..i {
            all[[j, i]] = all[[i, j]];
        }
    }
    all
}

/// Returns the median squared distance between different rows of the union of clouds. Of more than 2000 rows
/// in total it uses 2000 rows (in proportion to the clouds), drawn with a fixed seed.
pub(crate) fn median_square<T: Real>(clouds: &[&Cloud<'_, T>]) -> f64 {
    let total: usize = clouds.iter().map(|cloud| cloud.rows.nrows()).sum();
    let mut random = Random::new(0x6d65_6469_616e);
    let mut found = Vec::new();
    let parts: Vec<Cloud<'_, T>> = (clouds.iter())
        .map(|cloud| {
            let n = cloud.rows.nrows();
            let kept = if total <= MEDIAN_POINTS { n } else { (n * MEDIAN_POINTS / total).max(2).min(n) };
            cloud.select(&random.permutation(n)[..kept])
        })
        .collect();
    let points: Vec<PointSet<'_, T>> = parts.iter().map(PointSet::new).collect();
    for (i, x) in points.iter().enumerate() {
        for (j, y) in points.iter().enumerate().skip(i) {
            let all = squares(x, y);
            let different = |(at, square): ((usize, usize), &f64)| (i != j || at.0 < at.1).then_some(*square);
            found.extend(all.indexed_iter().filter_map(different));
        }
    }
    median(&mut found)
}

/// Returns the squared Euclidean distances `[n, m]` between the rows of `a [n, d]` and `b [m, d]`. Their
/// relative error is about 1e-9, also for rows that are close to each other and far from the others.
///
/// ```
/// use chiasm_geometry::squared_distances;
/// let a = ndarray::array![[1e9, 0.0], [1e9, 3e-5]];
/// let between = squared_distances(a.view(), a.view())?;
/// assert!((between[[0, 1]] / 9e-10 - 1.0).abs() < 1e-9);
/// # Ok::<(), chiasm_geometry::Error>(())
/// ```
///
/// # Errors
/// When the widths differ, there are no rows or no columns, or a value is not finite.
pub fn squared_distances(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> crate::Result<Array2<f64>> {
    let both = common_frame(a.view(), b.view(), 1)?;
    Ok(squares(&PointSet::new(&both.x), &PointSet::new(&both.y)) * (both.unit * both.unit))
}

/// Returns the median, or the mean of the two middle values if their number is even.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    let n = values.len();
    if n == 0 {
        return 0.0;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 { upper } else { (upper + below.iter().fold(f64::MIN, |m, v| m.max(*v))) / 2.0 }
}
