//! What it costs to move mass from a point to another: a formula over two clouds, or a matrix.
//!
//! Clouds are centred (costs here are translation invariant) and scaled to order one, so that inner products lose
//! little in single precision and values of 1e30 do not overflow. A squared distance is then `p_i + q_j - 2 <x_i, y_j>`:
//! one matrix product makes a block of costs, and `p`, `q` join the potentials without touching the block.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};
use rayon::prelude::*;
use std::{borrow::Cow, ops::Range};

use crate::{Error, Result, simd};

/// The cost `C[i, j] >= 0` between source point i and target point j.
#[derive(Debug, Clone)]
pub struct Cost<'a> {
    kind: Kind<'a>,
    shape: (usize, usize),
}

#[derive(Debug, Clone)]
enum Kind<'a> {
    Points(Points),
    Matrix(Cow<'a, [f32]>),
    Matrix64(Cow<'a, [f64]>),
}

/// Clouds in units of their largest coordinate: `cost = unit * (p + q - 2 x y)`, or `unit * sqrt(...)` with `root`.
#[derive(Debug, Clone)]
struct Points {
    x: Array2<f32>,
    y: Array2<f32>,
    p: Vec<f64>,
    q: Vec<f64>,
    unit: f64,
    root: bool,
}

impl<'a> Cost<'a> {
    /// `|x_i - y_j|^2` for clouds `x[n, d]`, `y[m, d]`.
    ///
    /// # Errors
    /// When a cloud is empty or not finite, or the dimensions differ.
    pub fn squared_euclidean(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Self> {
        Self::points(x, y, false)
    }

    /// `|x_i - y_j|` for clouds `x[n, d]`, `y[m, d]`.
    ///
    /// # Errors
    /// As [`Cost::squared_euclidean`].
    pub fn euclidean(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Self> {
        Self::points(x, y, true)
    }

    /// `1 - cos(x_i, y_j)` for clouds `x[n, d]`, `y[m, d]`.
    ///
    /// # Errors
    /// As [`Cost::squared_euclidean`], and when a row is zero: it has no direction.
    pub fn cosine(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Self> {
        // Half the squared distance of unit vectors.
        Self::points(directions(x, "source points")?.view(), directions(y, "target points")?.view(), false)
    }

    /// A given matrix `C[n, m]`.
    ///
    /// # Errors
    /// When it is empty or not finite.
    pub fn matrix(cost: ArrayView2<'a, f32>) -> Result<Self> {
        finite("cost matrix", cost, |c| c.is_finite())?;
        Ok(Self { shape: cost.dim(), kind: Kind::Matrix(rows(cost)) })
    }

    /// A given matrix `C[n, m]` in double precision.
    ///
    /// # Errors
    /// As [`Cost::matrix`].
    pub fn matrix64(cost: ArrayView2<'a, f64>) -> Result<Self> {
        finite("cost matrix", cost, |c| c.is_finite())?;
        Ok(Self { shape: cost.dim(), kind: Kind::Matrix64(rows(cost)) })
    }

    /// Source and target points: `(n, m)`.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// The mean entry: exact, but for Euclidean distances, where it is taken over at most 256 evenly spaced rows.
    pub fn mean(&self) -> f64 {
        let (n, m) = self.shape;
        match &self.kind {
            Kind::Points(points) if !points.root => points.mean_square() * points.unit,
            Kind::Points(_) => {
                let step = n.div_ceil(256);
                let mut row = vec![0.0; m];
                let rows = (0..n).step_by(step);
                let count = rows.len() * m;
                let sum: f64 = rows
                    .map(|i| {
                        self.costs(i..i + 1, &mut row);
                        row.iter().map(|&c| f64::from(c)).sum::<f64>()
                    })
                    .sum();
                sum / count as f64
            }
            Kind::Matrix(c) => total(c) / (n * m) as f64,
            Kind::Matrix64(c) => total(c) / (n * m) as f64,
        }
    }

    /// The centred source points, their squared norms and the unit, where the cost is a squared distance.
    pub(crate) fn squared_parts(&self) -> Option<(&Array2<f32>, &[f64], f64)> {
        match &self.kind {
            Kind::Points(points) if !points.root => Some((&points.x, &points.p, points.unit)),
            _ => None,
        }
    }

    /// The costs of some rows, row after row.
    pub(crate) fn costs(&self, rows: Range<usize>, out: &mut [f32]) {
        let m = self.shape.1;
        self.exponents(rows.clone(), -1.0, out);
        if let Kind::Points(points) = &self.kind
            && !points.root
        {
            for (i, row) in rows.zip(out.chunks_mut(m)) {
                for (c, q) in row.iter_mut().zip(&points.q) {
                    *c = (f64::from(*c) + (points.p[i] + q) * points.unit).max(0.0) as f32;
                }
            }
        }
    }

    /// The part of `-C / epsilon` that depends on both i and j, for some rows; [`Cost::source_offset`] and
    /// [`Cost::target_offset`] are the rest.
    pub(crate) fn exponents(&self, rows: Range<usize>, epsilon: f64, out: &mut [f32]) {
        let m = self.shape.1;
        match &self.kind {
            Kind::Points(points) => points.exponents(rows, epsilon, &mut out[..]),
            Kind::Matrix(cost) => {
                let factor = (-1.0 / epsilon) as f32;
                let cost = &cost[rows.start * m..rows.end * m];
                out.iter_mut().zip(cost).for_each(|(out, &c)| *out = c * factor);
            }
            Kind::Matrix64(cost) => {
                let factor = -1.0 / epsilon;
                let cost = &cost[rows.start * m..rows.end * m];
                out.iter_mut().zip(cost).for_each(|(out, &c)| *out = (c * factor) as f32);
            }
        }
    }

    /// The part of `-C / epsilon` that depends on source point i alone.
    pub(crate) fn source_offset(&self, i: usize, epsilon: f64) -> f64 {
        match &self.kind {
            Kind::Points(points) if !points.root => -points.p[i] * (points.unit / epsilon),
            _ => 0.0,
        }
    }

    /// The part of `-C / epsilon` that depends on target point j alone.
    pub(crate) fn target_offset(&self, j: usize, epsilon: f64) -> f64 {
        match &self.kind {
            Kind::Points(points) if !points.root => -points.q[j] * (points.unit / epsilon),
            _ => 0.0,
        }
    }

    fn points(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>, root: bool) -> Result<Self> {
        crate::same("dimension of the target points", x.ncols(), y.ncols())?;
        finite("source points", x, |v| v.is_finite())?;
        finite("target points", y, |v| v.is_finite())?;
        let shape = (x.nrows(), y.nrows());
        let centre = Array1::from(mean_row(x)).mapv(|c| c as f32);
        let (mut left, mut right, mut scale) = (moved(x, &centre, 1.0), moved(y, &centre, 1.0), 1.0);
        // Squares of order one lose nothing in single precision; others are scaled first.
        let top = left.1.iter().chain(&right.1).fold(0.0, |top: f64, &norm| top.max(norm));
        if !(1e-12..1e12).contains(&top) && top > 0.0 {
            scale = top.sqrt();
            (left, right) = (moved(x, &centre, scale), moved(y, &centre, scale));
        }
        let ((x, p), (y, q)) = (left, right);
        let unit = if root { scale } else { scale * scale };
        Ok(Self { kind: Kind::Points(Points { x, y, p, q, unit, root }), shape })
    }
}

impl Points {
    fn mean_square(&self) -> f64 {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        mean(&self.p) + mean(&self.q) // the source's mean is the origin: inner products average to zero
    }

    fn exponents(&self, rows: Range<usize>, epsilon: f64, out: &mut [f32]) {
        let (d, m) = (self.x.ncols(), self.y.nrows());
        let (Some(x), Some(y)) = (self.x.as_slice(), self.y.as_slice()) else { return };
        let factor = if self.root { 1.0 } else { (2.0 * self.unit / epsilon) as f32 };
        let x = MatRef::from_row_major_slice(&x[rows.start * d..rows.end * d], rows.len(), d);
        let y = MatRef::from_row_major_slice(y, m, d);
        let product = MatMut::from_row_major_slice_mut(out, rows.len(), m);
        matmul(product, Accum::Replace, x, y.transpose(), factor, Par::Seq);
        if self.root {
            let q: Vec<f32> = self.q.iter().map(|&q| q as f32).collect();
            let factor = (self.unit / epsilon) as f32;
            for (i, row) in rows.zip(out.chunks_mut(m)) {
                simd::negative_distances(row, self.p[i] as f32, &q, factor);
            }
        }
    }
}

pub(crate) fn mean_row(z: ArrayView2<'_, f32>) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = z
        .axis_chunks_iter(Axis(0), 256)
        .into_par_iter()
        .map(|part| {
            let mut sum = vec![0.0; z.ncols()];
            for row in part.rows() {
                sum.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
            }
            sum
        })
        .collect();
    (0..z.ncols()).map(|k| parts.iter().map(|part| part[k]).sum::<f64>() / z.nrows() as f64).collect()
}

/// `(z - centre) / scale` and its squared row norms.
fn moved(z: ArrayView2<'_, f32>, centre: &Array1<f32>, scale: f64) -> (Array2<f32>, Vec<f64>) {
    let z = z.as_standard_layout();
    let mut out = Array2::zeros(z.dim());
    let factor = (1.0 / scale) as f32;
    let norms = Zip::from(out.rows_mut()).and(z.rows()).par_map_collect(|out, row| {
        let parts = (row.to_slice(), centre.as_slice(), out.into_slice());
        let (Some(row), Some(centre), Some(out)) = parts else { return 0.0 };
        simd::shifted(row, centre, factor, out)
    });
    (out, norms.to_vec())
}

/// The sum of all entries, in double precision and in the same order whatever the threads.
fn total<T: Copy + Into<f64> + Sync>(values: &[T]) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(1 << 16)
        .map(|part| {
            let (lanes, rest) = part.as_chunks::<8>();
            let mut sum = [0.0; 8];
            lanes.iter().for_each(|lane| sum.iter_mut().zip(lane).for_each(|(sum, &v)| *sum += v.into()));
            sum.iter().sum::<f64>() + rest.iter().map(|&v| v.into()).sum::<f64>()
        })
        .collect();
    parts.iter().sum()
}

/// Unit rows divided by the square root of two.
fn directions(z: ArrayView2<'_, f32>, what: &'static str) -> Result<Array2<f32>> {
    let mut out = z.to_owned();
    for mut row in out.rows_mut() {
        let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Err(Error::NoDirection(what));
        }
        row.mapv_inplace(|v| (f64::from(v) / norm * std::f64::consts::FRAC_1_SQRT_2) as f32);
    }
    Ok(out)
}

/// The entries row after row; copied only where the view is not laid out so.
fn rows<T: Copy>(z: ArrayView2<'_, T>) -> Cow<'_, [T]> {
    match z.to_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(z.iter().copied().collect()),
    }
}

pub(crate) fn finite<T: Copy + Sync>(
    what: &'static str,
    z: ArrayView2<'_, T>,
    good: impl Fn(T) -> bool + Sync,
) -> Result<()> {
    if z.is_empty() {
        return Err(Error::Empty(what));
    }
    // Not short-circuit within a row, so that the test vectorises.
    let whole = |row: ArrayView1<'_, T>| row.iter().fold(true, |all, &v| all & good(v));
    let rows: Vec<bool> = Zip::from(z.rows()).par_map_collect(whole).to_vec();
    match rows.iter().position(|good| !good) {
        Some(row) => Err(Error::NotFinite { what, row }),
        None => Ok(()),
    }
}
