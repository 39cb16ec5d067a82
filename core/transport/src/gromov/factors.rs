//! Squared distances as a product of thin matrices, from points or found in a matrix that hides them.
//!
//! `D = p 1^T + 1 p^T - 2 X X^T`, with p the squared norms, has rank d + 2. A matrix of squared Euclidean
//! distances shows its X by a pivoted Cholesky decomposition of its centred Gram matrix `-1/2 J D J`
//! (Torgerson 1952; Harbrecht, Peters and Schneider 2012), in O(n r^2). It is taken only where it gives back
//! the matrix to single precision.

use faer::Mat;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::product::product;
use super::product::unit_hash;
use crate::gaussian::times;

/// `D = left right^T`, both `[n, d + 2]`: `right = [X, 1, p]` and `left = scale [-2 unit X, p, 1]`.
#[derive(Debug, Clone)]
pub(super) struct Factors {
    pub left: Array2<f32>,
    pub right: Array2<f32>,
    unit: f64,
    pub scale: f64,
}

/// Below this many points a product of whole matrices costs next to nothing.
const FEW: usize = 256;
/// Ranks above this share of the points save too little.
const SHARE: usize = 3;
/// What may be missing of a squared distance, as a share of the largest one: a few roundings of a product in
/// single precision.
const MISSING: f64 = 1e-6;
/// Steps whose progress tells the rank to expect.
const WINDOW: usize = 16;
/// Random signs that a decomposition is tried on.
const PROBES: u64 = 4;
/// Rows that one thread takes at a time: their sums stay in its first cache.
const ROWS: usize = 512;

impl Factors {
    /// From coordinates, the unit of their squares, and squared norms of the points.
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

    /// `D / top`.
    pub fn divide(&mut self, top: f32) {
        self.left /= top;
        self.scale /= f64::from(top);
    }

    /// `<D_x T D_y, T>` for a plan `T[n, m]`, in double precision, for what is summed nearly cancels.
    ///
    /// A left factor has the right one's columns in another order: `K = right_x^T T right_y` holds all sums
    /// there are.
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

    /// Of a symmetric matrix whose largest entry is `top`; none when it holds no squared distances of low
    /// rank.
    pub fn hidden_in(distances: &Array2<f32>, top: f32) -> Option<Self> {
        let n = distances.nrows();
        let missing = MISSING * f64::from(top);
        if n < FEW || distances.diag().iter().any(|d| f64::from(d.abs()) > missing) {
            return None;
        }
        let gram = Gram::new(distances);
        let columns = gram.cholesky(n / SHARE, missing)?;
        let points = Array2::from_shape_fn((n, columns.len()), |(i, k)| columns[k][i] as f32);
        let norms: Vec<f32> = gram.norms.iter().map(|&norm| norm as f32).collect();
        let found = Self::new(points.view(), 1.0, &norms);
        found.gives(distances, missing).then_some(found)
    }

    pub fn rank(&self) -> usize {
        self.left.ncols()
    }

    /// `D M` for `M[n, k]`.
    pub fn times(&self, m: ArrayView2<'_, f32>) -> Array2<f32> {
        product(1.0, self.left.view(), product(1.0, self.right.t(), m).view())
    }

    /// Whether `D v` and `left (right^T v)` agree for vectors of random signs: what an entry lacks, in the
    /// mean of its row, then lies below `missing`, and no single one lacks more than that many times the root
    /// of n.
    fn gives(&self, distances: &Array2<f32>, missing: f64) -> bool {
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
            // Errors without a common sign add up as their squares do.
            squares.iter().sum::<f64>() <= (n as f64 * missing).powi(2)
        })
    }
}

/// The inner products of centred points, `G = -1/2 J D J`, entry by entry.
struct Gram<'d> {
    distances: &'d Array2<f32>,
    /// Squared norms of the centred points, the diagonal.
    norms: Vec<f64>,
}

impl<'d> Gram<'d> {
    fn new(distances: &'d Array2<f32>) -> Self {
        let n = distances.nrows() as f64;
        let rows = (0..distances.nrows()).into_par_iter();
        let means = rows.map(|i| distances.row(i).iter().map(|&d| f64::from(d)).sum::<f64>() / n);
        let mut norms: Vec<f64> = means.collect();
        let half = 0.5 * norms.iter().sum::<f64>() / n;
        norms.iter_mut().for_each(|mean| *mean -= half);
        Self { distances, norms }
    }

    /// Columns of L with `G = L L^T` up to `missing` on the diagonal; none when more than `most` are needed.
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
            // At the pace of the last steps; it only ever slows.
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

    /// Numbers in [-0.5, 0.5) that look random.
    fn noise(n: usize, d: usize, seed: u64) -> Array2<f64> {
        Array2::from_shape_fn((n, d), |(i, k)| unit_hash((i * d + k) as u64, seed) - 0.5)
    }

    /// Squared distances of 300 points with 12 coordinates, the largest at one.
    fn squares() -> Array2<f64> {
        let x = noise(300, 12, 1);
        let d = Array2::from_shape_fn((300, 300), |(i, j)| (&x.row(i) - &x.row(j)).mapv(|t| t * t).sum());
        let top = d.iter().fold(0.0_f64, |top, d| top.max(*d));
        d / top
    }

    fn factors(d: &Array2<f64>) -> Option<Factors> {
        Factors::hidden_in(&d.mapv(|d| d as f32), 1.0)
    }

    #[test]
    fn points_are_found_in_their_distances() {
        let d = squares();
        let found = factors(&d).map(|f| (f.rank(), f.left.dot(&f.right.t())));
        let Some((rank, again)) = found else { panic!("nothing found") };
        assert_eq!(rank, 14);
        let most = (again.mapv(f64::from) - &d).iter().fold(0.0_f64, |most, e| most.max(e.abs()));
        assert!(most < 4e-6, "{most}"); // a few times what a mean entry may lack
    }

    #[test]
    fn other_matrices_stay_what_they_are() {
        let d = squares();
        assert!(factors(&d.mapv(f64::sqrt)).is_none(), "distances, not squared");
        let mut one = d.clone();
        (one[[3, 200]], one[[200, 3]]) = (0.5 * d[[3, 200]], 0.5 * d[[3, 200]]);
        assert!(factors(&one).is_none(), "one of them is another");
        let mut shaken = d.clone();
        let by = noise(300, 300, 2);
        shaken.indexed_iter_mut().for_each(|((i, j), d)| *d *= 1.0 + 1e-4 * by[[i.min(j), i.max(j)]]);
        assert!(factors(&shaken).is_none(), "all of them are a little off, far more than by rounding");
        assert!(factors(&(&d + 0.1)).is_none(), "no point lies at itself");
        assert!(factors(&(1.0 - &d)).is_none(), "likenesses");
        assert!(factors(&-d).is_none(), "the other sign");
    }
}
