//! Transport costs between two clouds, from points or from a matrix.
//!
//! Clouds are centred (the costs are translation invariant) and scaled to order one, so that inner products
//! lose little in single precision and values of 1e30 do not overflow. A squared distance is then
//! `p_i + q_j - 2 <x_i, y_j>`: one matrix product computes a block of costs, and `p` and `q` are added to the
//! dual potentials instead of to the block.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};
use rayon::prelude::*;
use std::{borrow::Cow, ops::Range};

use crate::{Error, Result, simd};

/// The cost `C[i, j]` of moving one unit of mass from source point i to target point j.
///
/// Costs of points are not stored: blocks of them are computed when they are needed.
///
/// ```
/// use chiasm_transport::Cost;
/// let x = ndarray::array![[0.0_f32, 0.0], [3.0, 4.0]];
/// let cost = Cost::euclidean(x.view(), x.view())?;
/// assert_eq!(cost.shape(), (2, 2));
/// assert_eq!(cost.mean(), 2.5);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cost<'a> {
    kind: CostForm<'a>,
    shape: (usize, usize),
}

#[derive(Debug, Clone)]
enum CostForm<'a> {
    Points(PointCost),
    Matrix(Cow<'a, [f32]>),
    Matrix64(Cow<'a, [f64]>),
}

/// Centred and scaled clouds: `cost = unit * (p + q - 2 x y)`, or `unit * sqrt(...)` where `root` is set.
#[derive(Debug, Clone)]
struct PointCost {
    x: Array2<f32>,
    y: Array2<f32>,
    p: Vec<f64>,
    q: Vec<f64>,
    unit: f64,
    root: bool,
}

impl<'a> Cost<'a> {
    /// Squared Euclidean cost `|x_i - y_j|^2` of the clouds `x[n, d]` and `y[m, d]`.
    ///
    /// # Errors
    /// When a cloud is empty or not finite, or the dimensions differ.
    pub fn squared_euclidean(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Self> {
        Self::points(x, y, false)
    }

    /// Euclidean cost `|x_i - y_j|` of the clouds `x[n, d]` and `y[m, d]`.
    ///
    /// # Errors
    /// The errors of [`Cost::squared_euclidean`].
    pub fn euclidean(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Self> {
        Self::points(x, y, true)
    }

    /// Cosine cost `1 - cos(x_i, y_j)` of the clouds `x[n, d]` and `y[m, d]`.
    ///
    /// # Errors
    /// The errors of [`Cost::squared_euclidean`], and when a row is zero.
    pub fn cosine(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Self> {
        // Half the squared distance of unit vectors.
        Self::points(directions(x, "source points")?.view(), directions(y, "target points")?.view(), false)
    }

    /// A given cost matrix `C[n, m]`.
    ///
    /// # Errors
    /// When the matrix is empty or not finite.
    pub fn matrix(cost: ArrayView2<'a, f32>) -> Result<Self> {
        finite("cost matrix", cost, |c| c.is_finite())?;
        Ok(Self { shape: cost.dim(), kind: CostForm::Matrix(rows(cost)) })
    }

    /// A given cost matrix `C[n, m]` in double precision.
    ///
    /// # Errors
    /// The errors of [`Cost::matrix`].
    pub fn matrix64(cost: ArrayView2<'a, f64>) -> Result<Self> {
        finite("cost matrix", cost, |c| c.is_finite())?;
        Ok(Self { shape: cost.dim(), kind: CostForm::Matrix64(rows(cost)) })
    }

    /// Returns the number of source points and of target points, `(n, m)`.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Returns the mean cost. For Euclidean distances it is the mean over at most 256 evenly spaced rows.
    pub fn mean(&self) -> f64 {
        let (n, m) = self.shape;
        match &self.kind {
            CostForm::Points(points) if !points.root => points.mean_square() * points.unit,
            CostForm::Points(_) => {
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
            CostForm::Matrix(c) => total(c) / (n * m) as f64,
            CostForm::Matrix64(c) => total(c) / (n * m) as f64,
        }
    }

    /// For squared distances of points: the scaled source points, their squared norms and the unit.
    pub(crate) fn squared_parts(&self) -> Option<(&Array2<f32>, &[f64], f64)> {
        match &self.kind {
            CostForm::Points(points) if !points.root => Some((&points.x, &points.p, points.unit)),
            _ => None,
        }
    }

    /// Writes the costs of some rows to `out`, row by row.
    pub(crate) fn costs(&self, rows: Range<usize>, out: &mut [f32]) {
        let m = self.shape.1;
        self.exponents(rows.clone(), -1.0, out);
        if let CostForm::Points(points) = &self.kind
            && !points.root
        {
            for (i, row) in rows.zip(out.chunks_mut(m)) {
                for (c, q) in row.iter_mut().zip(&points.q) {
                    *c = (f64::from(*c) + (points.p[i] + q) * points.unit).max(0.0) as f32;
                }
            }
        }
    }

    /// Writes the part of `-C / epsilon` that depends on both i and j, for some rows, to `out`.
    /// [`Cost::source_offset`] and [`Cost::target_offset`] are the rest.
    pub(crate) fn exponents(&self, rows: Range<usize>, epsilon: f64, out: &mut [f32]) {
        let m = self.shape.1;
        match &self.kind {
            CostForm::Points(points) => points.exponents(rows, epsilon, &mut out[..]),
            CostForm::Matrix(cost) => {
                let factor = (-1.0 / epsilon) as f32;
                let cost = &cost[rows.start * m..rows.end * m];
                out.iter_mut().zip(cost).for_each(|(out, &c)| *out = c * factor);
            }
            CostForm::Matrix64(cost) => {
                let factor = -1.0 / epsilon;
                let cost = &cost[rows.start * m..rows.end * m];
                out.iter_mut().zip(cost).for_each(|(out, &c)| *out = (c * factor) as f32);
            }
        }
    }

    /// Returns the part of `-C / epsilon` that depends on source point i only.
    pub(crate) fn source_offset(&self, i: usize, epsilon: f64) -> f64 {
        match &self.kind {
            CostForm::Points(points) if !points.root => -points.p[i] * (points.unit / epsilon),
            _ => 0.0,
        }
    }

    /// Returns the part of `-C / epsilon` that depends on target point j only.
    pub(crate) fn target_offset(&self, j: usize, epsilon: f64) -> f64 {
        match &self.kind {
            CostForm::Points(points) if !points.root => -points.q[j] * (points.unit / epsilon),
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
        // Squares far from order one would overflow or vanish in single precision: scale first.
        let top = left.1.iter().chain(&right.1).fold(0.0, |top: f64, &norm| top.max(norm));
        if !(1e-12..1e12).contains(&top) && top > 0.0 {
            scale = top.sqrt();
            (left, right) = (moved(x, &centre, scale), moved(y, &centre, scale));
        }
        let ((x, p), (y, q)) = (left, right);
        let unit = if root { scale } else { scale * scale };
        Ok(Self { kind: CostForm::Points(PointCost { x, y, p, q, unit, root }), shape })
    }
}

impl PointCost {
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

/// Returns the mean row in double precision.
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

/// Returns `(z - centre) / scale` and its squared row norms.
fn moved(z: ArrayView2<'_, f32>, centre: &Array1<f32>, scale: f64) -> (Array2<f32>, Vec<f64>) {
    let z = z.as_standard_layout();
    let mut out = Array2::zeros(z.dim());
    let factor = (1.0 / scale) as f32;
    let norms = Zip::from(out.rows_mut()).and(z.rows()).par_map_collect(|out, row| {
        let parts = (row.to_slice(), centre.as_slice(), out.into_slice());
        let (Some(row), Some(centre), Some(out)) = parts else { return 0.0 };
        simd::scaled_difference(row, centre, factor, out)
    });
    (out, norms.to_vec())
}

/// Returns the sum of all entries in double precision. The order does not depend on the number of threads.
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

/// Returns the rows scaled to length `1 / sqrt(2)`, so that squared distances are cosine costs.
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

/// Returns the entries in row-major order; copies only if the view has another layout.
fn rows<T: Copy>(z: ArrayView2<'_, T>) -> Cow<'_, [T]> {
    match z.to_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(z.iter().copied().collect()),
    }
}

/// Returns an error if `z` is empty or a value is not `good`.
pub(crate) fn finite<T: Copy + Sync>(
    what: &'static str,
    z: ArrayView2<'_, T>,
    good: impl Fn(T) -> bool + Sync,
) -> Result<()> {
    if z.is_empty() {
        return Err(Error::Empty(what));
    }
    // No short circuit within a row, so that the loop vectorises.
    let whole = |row: ArrayView1<'_, T>| row.iter().fold(true, |all, &v| all & good(v));
    let rows: Vec<bool> = Zip::from(z.rows()).par_map_collect(whole).to_vec();
    match rows.iter().position(|good| !good) {
        Some(row) => Err(Error::NotFinite { what, row }),
        None => Ok(()),
    }
}
