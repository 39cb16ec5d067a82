//! Squared distances in tiles of one matrix product each, computed in parallel. If both sides are the same
//! cloud, only half of the tiles are computed.
//!
//! `|x_i - y_j|² = |x_i|² + |y_j|² - 2 <x_i, y_j>` loses digits for close points. Values below the rounding
//! error of the norms are set to zero, so that duplicates tie. Sums over tiles are added in a fixed order and
//! reproducible.

use faer::{Accum, MatMut, Par, linalg::matmul::matmul};
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use std::ops::Range;

use crate::cloud::faer_rows;
use crate::kernels::{squared_distances, sum_of_exponentials};
use crate::random::Random;
use crate::real::Real;

/// Rows and columns of a tile, which fits into the second-level cache.
pub(crate) const TILE: usize = 384;
/// Maximum number of points for the median distance; larger clouds are sampled.
const MEDIAN_POINTS: usize = 2000;

/// Centred points and their squared norms.
pub(crate) struct PointSet<'a, T> {
    pub rows: &'a Array2<T>,
    squares: Vec<T>,
}

impl<'a, T: Real> PointSet<'a, T> {
    /// Computes the squared norms of `rows [n, d]`, in standard layout.
    pub fn new(rows: &'a Array2<T>) -> Self {
        let square = |row: usize| T::of(rows.row(row).iter().map(|&v| v.into() * v.into()).sum());
        Self { rows, squares: (0..rows.nrows()).into_par_iter().map(square).collect() }
    }

    pub fn len(&self) -> usize {
        self.squares.len()
    }

    /// Writes the squared distances of some rows to some rows of `other` to `out`, row by row.
    pub fn tile(&self, rows: Range<usize>, other: &Self, columns: Range<usize>, out: &mut [T]) {
        self.products(T::of(-2.0), rows.clone(), other, columns.clone(), out);
        squared_distances(out, &self.squares[rows], &other.squares[columns]);
    }

    /// Writes `factor <x_i, y_j>` for some rows and some rows of `other` to `out`, row by row.
    fn products(&self, factor: T, rows: Range<usize>, other: &Self, columns: Range<usize>, out: &mut [T]) {
        let (x, y) = (faer_rows(self.rows), faer_rows(other.rows));
        let (x, y) = (x.subrows(rows.start, rows.len()), y.subrows(columns.start, columns.len()));
        let product = MatMut::from_row_major_slice_mut(out, rows.len(), columns.len());
        matmul(product, Accum::Replace, x, y.transpose(), factor, Par::Seq);
    }

    /// Returns `Σ exp(-gamma d²_ij)` over all rows i and all rows j of `other`.
    ///
    /// The exponent is `2 gamma <x, y>` minus `gamma` times both squared norms. For a cloud and itself half
    /// of the tiles are computed, and the diagonal terms are exactly one.
    pub fn kernel_sum(&self, other: &Self, gamma: T) -> f64 {
        let one = std::ptr::eq(self, other);
        let tiles = if one { half_tiles(self.len()) } else { tiles(self.len(), other.len()) };
        let scaled = |points: &Self| -> Vec<T> { points.squares.iter().map(|&s| s * gamma).collect() };
        let (own, others) = (scaled(self), scaled(other));
        let sums: Vec<f64> = (tiles.into_par_iter())
            .map_init(buffer, |buffer: &mut Vec<T>, (rows, columns)| {
                let values = &mut buffer[..rows.len() * columns.len()];
                self.products(gamma + gamma, rows.clone(), other, columns.clone(), values);
                let diagonal = one && rows == columns;
                if diagonal {
                    // Makes the distance of a row to itself exactly zero, despite rounding of the product.
                    let own = &own[rows.clone()];
                    own.iter()
                        .enumerate()
                        .for_each(|(i, &own_i)| values[i * (own.len() + 1)] = own_i + own_i);
                }
                let sum = sum_of_exponentials(values, &own[rows], &others[columns]);
                if one && !diagonal { 2.0 * sum } else { sum }
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

/// Returns the distances `[n, m]` between two clouds, in `f64`.
pub(crate) fn distances<T: Real>(x: &PointSet<'_, T>, y: &PointSet<'_, T>) -> Array2<f64> {
    let (n, m) = (x.len(), y.len());
    let blocks: Vec<Vec<f64>> = (ranges(n).into_par_iter())
        .map(|rows| {
            let mut block = vec![T::of(0.0); rows.len() * m];
            x.tile(rows, y, 0..m, &mut block);
            block.into_iter().map(|square| square.into().sqrt()).collect()
        })
        .collect();
    Array2::from_shape_vec((n, m), blocks.concat()).unwrap_or_default()
}

/// Returns the distances `[n, n]` within a cloud, in `f64`: symmetric, with zeros on the diagonal.
pub(crate) fn distances_within<T: Real>(x: &Array2<T>) -> Array2<f64> {
    let points = PointSet::new(x);
    let mut all = distances(&points, &points);
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
pub(crate) fn median_square<T: Real>(clouds: &[&Array2<T>]) -> f64 {
    let total: usize = clouds.iter().map(|cloud| cloud.nrows()).sum();
    let mut random = Random::new(0x6d65_6469_616e);
    let mut squares = Vec::new();
    let parts: Vec<Array2<T>> = (clouds.iter())
        .map(|cloud| {
            let n = cloud.nrows();
            let kept = if total <= MEDIAN_POINTS { n } else { (n * MEDIAN_POINTS / total).max(2).min(n) };
            cloud.select(Axis(0), &random.permutation(n)[..kept])
        })
        .collect();
    let points: Vec<PointSet<'_, T>> = parts.iter().map(PointSet::new).collect();
    for (i, x) in points.iter().enumerate() {
        for (j, y) in points.iter().enumerate().skip(i) {
            let all = distances(x, y);
            let different = |(at, d): ((usize, usize), &f64)| (i != j || at.0 < at.1).then_some(d * d);
            squares.extend(all.indexed_iter().filter_map(different));
        }
    }
    median(&mut squares)
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
