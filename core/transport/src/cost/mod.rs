//! Transport costs between two clouds, from points or from a matrix.
//!
//! Each cloud is centred on its own mean and scaled to order one, so that inner products lose little in
//! single precision and values of 1e30 do not overflow. A squared distance is then `p_i + q_j - 2 <x_i,
//! y_j>`: one matrix product computes a block of costs, and `p` and `q`, in double precision, are added to
//! the dual potentials instead of to the block. Where single precision is not enough for a given epsilon, the
//! costs are computed from differences in double precision instead (`direct.rs`).

mod direct;

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, Zip};
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
    /// The parts of the cost that depend on one point only, in units of the cost; empty if there are none.
    source: Vec<f64>,
    target: Vec<f64>,
}

/// A coordinate of a point: `f32` or `f64`.
pub trait Coordinate: Copy + Send + Sync + Into<f64> {}

impl Coordinate for f32 {}
impl Coordinate for f64 {}

#[derive(Debug, Clone)]
enum CostForm<'a> {
    Points(Box<PointCost>),
    Matrix(Cow<'a, [f32]>),
    Matrix64(Cow<'a, [f64]>),
}

/// Centred and scaled clouds: `cost = source + target - 2 unit x y`, or `unit * sqrt(p + q - 2 x y)` with the
/// squared norms p and q where `root` is set, with a common centre.
#[derive(Debug, Clone)]
struct PointCost {
    x: Array2<f32>,
    y: Array2<f32>,
    p: Vec<f64>,
    q: Vec<f64>,
    unit: f64,
    root: bool,
    /// The points as they were given.
    given: [Array2<f64>; 2],
}

impl<'a> Cost<'a> {
    /// Squared Euclidean cost `|x_i - y_j|^2` of the clouds `x[n, d]` and `y[m, d]`.
    ///
    /// # Errors
    /// When a cloud is empty or not finite, the dimensions differ, or the squared size of the clouds is
    /// outside of the range of double precision.
    pub fn squared_euclidean<T: Coordinate>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<Self> {
        Self::points(x, y, false)
    }

    /// Euclidean cost `|x_i - y_j|` of the clouds `x[n, d]` and `y[m, d]`.
    ///
    /// # Errors
    /// The errors of [`Cost::squared_euclidean`].
    pub fn euclidean<T: Coordinate>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<Self> {
        Self::points(x, y, true)
    }

    /// Cosine cost `1 - cos(x_i, y_j)` of the clouds `x[n, d]` and `y[m, d]`.
    ///
    /// # Errors
    /// The errors of [`Cost::squared_euclidean`], and when a row is zero.
    pub fn cosine<T: Coordinate>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<Self> {
        // Half the squared distance of unit vectors.
        Self::points(directions(x, "source points")?.view(), directions(y, "target points")?.view(), false)
    }

    /// A given cost matrix `C[n, m]`.
    ///
    /// # Errors
    /// When the matrix is empty or not finite.
    pub fn matrix(cost: ArrayView2<'a, f32>) -> Result<Self> {
        finite("cost matrix", cost, |c| c.is_finite())?;
        Ok(Self::whole(cost.dim(), CostForm::Matrix(rows(cost))))
    }

    /// A given cost matrix `C[n, m]` in double precision.
    ///
    /// # Errors
    /// The errors of [`Cost::matrix`].
    pub fn matrix64(cost: ArrayView2<'a, f64>) -> Result<Self> {
        finite("cost matrix", cost, |c| c.is_finite())?;
        Ok(Self::whole(cost.dim(), CostForm::Matrix64(rows(cost))))
    }

    /// A cost without parts that depend on one point only.
    fn whole(shape: (usize, usize), kind: CostForm<'a>) -> Self {
        Self { kind, shape, source: Vec::new(), target: Vec::new() }
    }

    /// Returns the number of source points and of target points, `(n, m)`.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Returns the mean cost. For Euclidean distances it is the mean over at most 256 evenly spaced rows.
    pub fn mean(&self) -> f64 {
        let (n, m) = self.shape;
        match &self.kind {
            // The inner products of centred points average to zero.
            CostForm::Points(points) if !points.root => {
                let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
                mean(&self.source) + mean(&self.target)
            }
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

    /// Returns a bound of all costs from below that is exact for a matrix: zero for distances.
    pub(crate) fn least(&self) -> f64 {
        match &self.kind {
            CostForm::Points(_) => 0.0,
            CostForm::Matrix(c) => c.iter().fold(f64::INFINITY, |low, &c| low.min(f64::from(c))),
            CostForm::Matrix64(c) => c.iter().fold(f64::INFINITY, |low, &c| low.min(c)),
        }
    }

    /// For squared distances of points: the scaled source points, their squared norms in units of the cost,
    /// and the unit.
    pub(crate) fn squared_parts(&self) -> Option<(&Array2<f32>, &[f64], f64)> {
        match &self.kind {
            CostForm::Points(points) if !points.root => Some((&points.x, &self.source, points.unit)),
            _ => None,
        }
    }

    /// Writes the costs of some rows to `out`, row by row.
    pub(crate) fn costs(&self, rows: Range<usize>, out: &mut [f32]) {
        let m = self.shape.1;
        self.exponents(rows.clone(), -1.0, out);
        let least = if matches!(self.kind, CostForm::Points(_)) { 0.0 } else { f64::NEG_INFINITY };
        if !self.source.is_empty() {
            for (i, row) in rows.zip(out.chunks_mut(m)) {
                for (c, target) in row.iter_mut().zip(&self.target) {
                    *c = (f64::from(*c) + self.source[i] + target).max(least) as f32;
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
                if self.source.is_empty() {
                    let cost = &cost[rows.start * m..rows.end * m];
                    out.iter_mut().zip(cost).for_each(|(out, &c)| *out = (c * factor) as f32);
                    return;
                }
                for (i, out) in rows.zip(out.chunks_mut(m)) {
                    let row = cost[i * m..(i + 1) * m].iter().zip(&self.target);
                    for (out, (c, target)) in out.iter_mut().zip(row) {
                        *out = ((c - self.source[i] - target) * factor) as f32;
                    }
                }
            }
        }
    }

    /// Returns the part of `-C / epsilon` that depends on source point i only.
    pub(crate) fn source_offset(&self, i: usize, epsilon: f64) -> f64 {
        self.source.get(i).map_or(0.0, |cost| -cost / epsilon)
    }

    /// Returns the part of `-C / epsilon` that depends on target point j only.
    pub(crate) fn target_offset(&self, j: usize, epsilon: f64) -> f64 {
        self.target.get(j).map_or(0.0, |cost| -cost / epsilon)
    }

    fn points<T: Coordinate>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, root: bool) -> Result<Self> {
        crate::same("dimension of the target points", x.ncols(), y.ncols())?;
        finite("source points", x, |v: T| v.into().is_finite())?;
        finite("target points", y, |v: T| v.into().is_finite())?;
        let shape = (x.nrows(), y.nrows());
        let from = mean_row(x);
        let to = if root { from.clone() } else { mean_row(y) };
        // Squares far from order one would overflow or vanish in single precision: scale first.
        let top = largest(x, &from).max(largest(y, &to));
        let scale = if (1e-6..1e6).contains(&top) || top == 0.0 { 1.0 } else { top };
        // |x - y + shift|² = |x|² + |y|² - 2 x y + 2 x shift - 2 y shift + |shift|²
        let shift: Vec<f64> = from.iter().zip(&to).map(|(a, b)| (a - b) / scale).collect();
        let square: f64 = shift.iter().map(|s| s * s).sum();
        let given = [wide(x), wide(y)];
        let ((x, p, along_x), (y, q, along_y)) =
            (moved(x, &from, scale, &shift), moved(y, &to, scale, &shift));
        let unit = if root { scale } else { scale * scale };
        if !(unit.is_normal() && (unit * square).is_finite()) {
            let why = "they leave the range of double precision: rescale the points";
            return Err(Error::Breakdown { what: "computing squared distances", why });
        }
        let (mut source, mut target) = (Vec::new(), Vec::new());
        if !root {
            source = p.iter().zip(along_x).map(|(p, along)| (p + 2.0 * along + square) * unit).collect();
            target = q.iter().zip(along_y).map(|(q, along)| (q - 2.0 * along) * unit).collect();
        }
        Ok(Self {
            kind: CostForm::Points(Box::new(PointCost { x, y, p, q, unit, root, given })),
            shape,
            source,
            target,
        })
    }
}

impl PointCost {
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
                self.refine(i, row, f64::from(factor));
            }
        }
    }
}

/// Returns the mean row of at least one row in double precision. It is summed from the differences to the
/// first row, so that the mean of equal rows is exactly that row.
pub(crate) fn mean_row<T: Coordinate>(z: ArrayView2<'_, T>) -> Vec<f64> {
    let count = z.nrows() as f64;
    let first: Vec<f64> = z.row(0).iter().map(|&v| v.into()).collect();
    let parts: Vec<Vec<f64>> = z
        .axis_chunks_iter(Axis(0), 256)
        .into_par_iter()
        .map(|part| {
            let mut sum = vec![0.0; z.ncols()];
            for row in part.rows() {
                for ((sum, &v), first) in sum.iter_mut().zip(row).zip(&first) {
                    *sum += v.into() / count - first / count;
                }
            }
            sum
        })
        .collect();
    first.iter().enumerate().map(|(k, first)| first + parts.iter().map(|part| part[k]).sum::<f64>()).collect()
}

/// Returns the largest absolute difference of a coordinate from the centre.
fn largest<T: Coordinate>(z: ArrayView2<'_, T>, centre: &[f64]) -> f64 {
    let tops: Vec<f64> = Zip::from(z.rows())
        .par_map_collect(|row| {
            row.iter().zip(centre).fold(0.0_f64, |top, (&v, c)| top.max((v.into() - c).abs()))
        })
        .to_vec();
    tops.into_iter().fold(0.0, f64::max)
}

/// Returns `(z - centre) / scale`, its squared row norms, and the inner products of its rows with `shift`.
fn moved<T: Coordinate>(
    z: ArrayView2<'_, T>,
    centre: &[f64],
    scale: f64,
    shift: &[f64],
) -> (Array2<f32>, Vec<f64>, Vec<f64>) {
    let mut out = Array2::zeros(z.dim());
    let sums = Zip::from(out.rows_mut()).and(z.rows()).par_map_collect(|mut out, row| {
        let (mut square, mut along) = (0.0, 0.0);
        for ((out, &v), (c, s)) in out.iter_mut().zip(row).zip(centre.iter().zip(shift)) {
            *out = ((v.into() - c) / scale) as f32;
            let rounded = f64::from(*out);
            square += rounded * rounded;
            along += rounded * s;
        }
        (square, along)
    });
    let (squares, along) = sums.into_iter().unzip();
    (out, squares, along)
}

/// Returns the coordinates in double precision, in standard layout.
fn wide<T: Coordinate>(z: ArrayView2<'_, T>) -> Array2<f64> {
    Array2::from_shape_fn(z.dim(), |place| z[place].into())
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
fn directions<T: Coordinate>(z: ArrayView2<'_, T>, what: &'static str) -> Result<Array2<f64>> {
    let mut out = wide(z);
    for mut row in out.rows_mut() {
        let top = row.iter().fold(0.0_f64, |top, v| top.max(v.abs()));
        if top == 0.0 {
            return Err(Error::NoDirection(what));
        }
        row /= top;
        let norm = row.dot(&row).sqrt();
        row *= std::f64::consts::FRAC_1_SQRT_2 / norm;
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
