//! Squared distances as a product of thin matrices, from points or recovered from a distance matrix.
//!
//! `D = p 1^T + 1 p^T - 2 X X^T`, where p are the squared norms, has rank d + 2. From a matrix of squared
//! Euclidean distances, X is recovered by a pivoted Cholesky decomposition of the centred Gram matrix
//! `-1/2 J D J` (Torgerson 1952; Harbrecht, Peters and Schneider 2012) in O(n r^2). The factors are used only
//! if they reproduce the matrix to single precision.

use faer::Mat;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::product::{product, unit_hash};
use crate::gaussian::times;

/// Factors of `D = left right^T`, both `[n, d + 2]`: `right = [X, 1, p]` and
/// `left = scale [-2 unit X, p, 1]`.
#[derive(Debug, Clone)]
pub(super) struct DistanceFactors {
    pub left: Array2<f32>,
    pub right: Array2<f32>,
    unit: f64,
    pub scale: f64,
}

/// Smallest number of points for which factors are worth their cost.
const FEW: usize = 256;
/// Factors are used up to the rank `n / SHARE`.
const SHARE: usize = 3;
/// Largest accepted error of a squared distance, as a share of the largest one: a few roundings of a
/// single-precision product.
const MISSING: f64 = 1e-6;
/// Number of recent steps from which the final rank is extrapolated.
const WINDOW: usize = 16;
/// Number of random sign vectors that a decomposition is tested with.
const PROBES: u64 = 4;
/// Rows that one thread processes at a time, so that their sums stay in the first-level cache.
const ROWS: usize = 512;

impl DistanceFactors {
    /// Builds the factors from coordinates `[n, d]`, the unit of their squares, and squared norms `[n]`.
    pub fn new(points: ArrayView2<'_, f32>, unit: f64, norms: &[f32]) -> Self {
        let (n, d) = points.dim();
        let mut left = Array2::zeros((n, d + 2));
        let mut right = Array2::zeros((n, d + 2));
        for (i, &norm) in norms.iter().enumerate() {
            for k in 0..d {
                left[[i, k]] = (-2.0 * unit) as f32 * points[[i, k]];
                right[[i, k]] = points[[i, k]];
            }
            (left[[i, d]], left[[i, d + 1]]) = (norm, 1.0);
            (right[[i, d]], right[[i, d + 1]]) = (1.0, norm);
        }
        Self { left, right, unit, scale: 1.0 }
    }

    /// Divides D by `top`.
    pub fn divide(&mut self, top: f32) {
        self.left /= top;
        self.scale /= f64::from(top);
    }

    /// Returns `<D_x T D_y, T>` for a plan `T[n, m]`, in double precision, because its terms nearly cancel.
    ///
    /// A left factor has the columns of the right factor in another order, so every term is an entry of
    /// `K = right_x^T T right_y`.
    pub fn agreement(&self, plan: &Array2<f32>, other: &Self) -> f64 {
        let wide = |z: &Array2<f32>| Mat::from_fn(z.nrows(), z.ncols(), |i, j| f64::from(z[[i, j]]));
        let sums = times(&wide(&self.right).transpose().to_owned(), &times(&wide(plan), &wide(&other.right)));
        let row = |f: &Self, k: usize| match f.rank() - k {
            1 => (k - 1, f.scale),
            2 => (k + 1, f.scale),
            _ => (k, -2.0 * f.unit * f.scale),
        };
        let term = |i: usize, j: usize| {
            let ((from_i, by_i), (from_j, by_j)) = (row(self, i), row(other, j));
            by_i * sums[(from_i, j)] * by_j * sums[(i, from_j)]
        };
        (0..self.rank()).map(|i| (0..other.rank()).map(|j| term(i, j)).sum::<f64>()).sum()
    }

    /// Recovers the factors of a symmetric matrix whose largest entry is `top`. Returns `None` unless it
    /// holds squared distances of low rank.
    pub fn detect(distances: &Array2<f32>, top: f32) -> Option<Self> {
        let n = distances.nrows();
        let missing = MISSING * f64::from(top);
        if n < FEW || distances.diag().iter().any(|d| f64::from(d.abs()) > missing) {
            return None;
        }
        let gram = CentredGram::new(distances);
        let columns = gram.cholesky(n / SHARE, missing)?;
        let points = Array2::from_shape_fn((n, columns.len()), |(i, k)| columns[k][i] as f32);
        let norms: Vec<f32> = gram.norms.iter().map(|&norm| norm as f32).collect();
        let found = Self::new(points.view(), 1.0, &norms);
        found.reproduces(distances, missing).then_some(found)
    }

    /// Returns the number of columns of the factors.
    pub fn rank(&self) -> usize {
        self.left.ncols()
    }

    /// Returns `D M` for `M[n, k]`.
    pub fn times(&self, m: ArrayView2<'_, f32>) -> Array2<f32> {
        product(1.0, self.left.view(), product(1.0, self.right.t(), m).view())
    }

    /// Tests whether `D v` and `left (right^T v)` agree for random sign vectors. If they do, the mean error
    /// of the entries of a row is below `missing`, and no entry is off by more than `sqrt(n)` times that.
    fn reproduces(&self, distances: &Array2<f32>, missing: f64) -> bool {
        let n = distances.nrows();
        (0..PROBES).all(|probe| {
            let sign = |i: usize| if unit_hash(i as u64, probe) < 0.5 { -1.0 } else { 1.0 };
            let signs: Vec<f64> = (0..n).map(sign).collect();
            let times = |row: &[f32]| row.iter().zip(&signs).map(|(&d, s)| f64::from(d) * s).sum::<f64>();
            let mut through = vec![0.0_f64; self.rank()];
            for (row, sign) in self.right.rows().into_iter().zip(&signs) {
                through.iter_mut().zip(row).for_each(|(sum, &r)| *sum += f64::from(r) * sign);
            }
            let squares = (0..n).into_par_iter().map(|i| {
                let again: f64 = self.left.row(i).iter().zip(&through).map(|(&l, t)| f64::from(l) * t).sum();
                let given = distances.row(i).as_slice().map_or(f64::INFINITY, times);
                (given - again).powi(2)
            });
            let squares: Vec<f64> = squares.collect();
            // Independent errors add up in squares.
            squares.iter().sum::<f64>() <= (n as f64 * missing).powi(2)
        })
    }
}

/// The Gram matrix of the centred points, `G = -1/2 J D J`, computed entry by entry.
struct CentredGram<'d> {
    distances: &'d Array2<f32>,
    /// Squared norms of the centred points, the diagonal.
    norms: Vec<f64>,
}

impl<'d> CentredGram<'d> {
    fn new(distances: &'d Array2<f32>) -> Self {
        let n = distances.nrows() as f64;
        let rows = (0..distances.nrows()).into_par_iter();
        let means = rows.map(|i| distances.row(i).iter().map(|&d| f64::from(d)).sum::<f64>() / n);
        let mut norms: Vec<f64> = means.collect();
        let half = 0.5 * norms.iter().sum::<f64>() / n;
        norms.iter_mut().for_each(|mean| *mean -= half);
        Self { distances, norms }
    }

    /// Returns the columns of L with `G = L L^T` up to `missing` on the diagonal, or `None` if more than
    /// `most` are needed.
    fn cholesky(&self, most: usize, missing: f64) -> Option<Vec<Vec<f64>>> {
        let mut left = self.norms.clone();
        let mut columns: Vec<Vec<f64>> = Vec::new();
        let mut traces: Vec<f64> = Vec::new();
        loop {
            let (pivot, &largest) = left.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
            if largest <= missing {
                return Some(columns);
            }
            traces.push(left.iter().map(|l| l.max(0.0)).sum());
            let step = columns.len();
            // Extrapolates the decay of the last steps, which can only slow down.
            let hopeless = step >= WINDOW && {
                let (now, before) = (traces[step], traces[step - WINDOW]);
                (step as f64 + WINDOW as f64 * now / (before - now).max(f64::MIN_POSITIVE))
                    > 1.1 * most as f64
            };
            if step == most || hopeless {
                return None;
            }
            let mut column = vec![0.0; left.len()];
            column.par_chunks_mut(ROWS).zip(left.par_chunks_mut(ROWS)).enumerate().for_each(
                |(chunk, (out, left))| {
                    let first = chunk * ROWS;
                    for (i, c) in out.iter_mut().enumerate() {
                        let d = f64::from(self.distances[[pivot, first + i]]);
                        *c = 0.5 * (self.norms[first + i] + self.norms[pivot] - d);
                    }
                    for earlier in &columns {
                        let weight = earlier[pivot];
                        out.iter_mut().zip(&earlier[first..]).for_each(|(c, l)| *c -= weight * l);
                    }
                    for (c, left) in out.iter_mut().zip(left) {
                        *c /= largest.sqrt();
                        *left -= *c * *c;
                    }
                },
            );
            columns.push(column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers in [-0.5, 0.5).
    fn noise(n: usize, d: usize, seed: u64) -> Array2<f64> {
        Array2::from_shape_fn((n, d), |(i, k)| unit_hash((i * d + k) as u64, seed) - 0.5)
    }

    /// Squared distances of 300 points with 12 coordinates, scaled to a maximum of one.
    fn squares() -> Array2<f64> {
        let x = noise(300, 12, 1);
        let d = Array2::from_shape_fn((300, 300), |(i, j)| (&x.row(i) - &x.row(j)).mapv(|t| t * t).sum());
        let top = d.iter().fold(0.0_f64, |top, d| top.max(*d));
        d / top
    }

    fn factors(d: &Array2<f64>) -> Option<DistanceFactors> {
        DistanceFactors::detect(&d.mapv(|d| d as f32), 1.0)
    }

    #[test]
    fn points_are_recovered_from_their_distances() {
        let d = squares();
        let found = factors(&d).map(|f| (f.rank(), f.left.dot(&f.right.t())));
        let Some((rank, again)) = found else { panic!("nothing found") };
        assert_eq!(rank, 14);
        let most = (again.mapv(f64::from) - &d).iter().fold(0.0_f64, |most, e| most.max(e.abs()));
        assert!(most < 4e-6, "{most}"); // a few times the accepted mean error
    }

    #[test]
    fn other_matrices_have_no_factors() {
        let d = squares();
        assert!(factors(&d.mapv(f64::sqrt)).is_none(), "distances, not squared");
        let mut one = d.clone();
        (one[[3, 200]], one[[200, 3]]) = (0.5 * d[[3, 200]], 0.5 * d[[3, 200]]);
        assert!(factors(&one).is_none(), "one wrong distance");
        let mut noisy = d.clone();
        let by = noise(300, 300, 2);
        noisy.indexed_iter_mut().for_each(|((i, j), d)| *d *= 1.0 + 1e-4 * by[[i.min(j), i.max(j)]]);
        assert!(factors(&noisy).is_none(), "errors far above rounding");
        assert!(factors(&(&d + 0.1)).is_none(), "a diagonal that is not zero");
        assert!(factors(&(1.0 - &d)).is_none(), "similarities");
        assert!(factors(&-d).is_none(), "negative distances");
    }
}
