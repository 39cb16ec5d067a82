//! A space described by the distances between its points: a matrix, or points whose squared distances have
//! low rank.
//!
//! `D = p 1^T + 1 p^T - 2 X X^T` has rank d + 2. The product `D_x T D_y`, which every Gromov-Wasserstein
//! method needs, therefore costs `O(n^2 d)` instead of `O(n^3)` (Peyré et al. 2016; Scetbon et al. 2022,
//! arXiv 2106.01128).

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, Zip};
use rayon::prelude::*;

use super::factors::DistanceFactors;
use super::product::product;
use crate::tasks::tasks;
use crate::{Cost, Error, Result, cost::finite};

/// Sums of rows take less time than a product if at most one entry in this many is not zero.
const SPARSE: usize = 8;

/// A cloud described by the symmetric matrix `D[n, n]` of the distances between its points.
///
/// ```
/// use chiasm_transport::Space;
/// let x = ndarray::array![[0.0_f32, 0.0], [3.0, 4.0]];
/// assert_eq!(Space::squared_euclidean(x.view())?.size(), 2);
/// assert_eq!(Space::matrix(ndarray::array![[0.0_f32, 5.0], [5.0, 0.0]].view())?.size(), 2);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Space {
    size: usize,
    form: SpaceForm,
}

#[derive(Debug, Clone)]
enum SpaceForm {
    /// The given matrix, and its factors where it has low rank.
    Matrix(Array2<f32>, Option<DistanceFactors>),
    /// The factors, and the cost that computes blocks of D up to the scale of the factors.
    Points(DistanceFactors, Box<Cost<'static>>),
}

impl Space {
    /// Squared Euclidean distances of the points `x[n, d]`.
    ///
    /// # Errors
    /// When there are no points, a value is not finite, or a squared norm overflows single precision.
    pub fn squared_euclidean(x: ArrayView2<'_, f32>) -> Result<Self> {
        let points = Cost::squared_euclidean(x, x)?;
        let Some((centred, norms, unit)) = points.squared_parts() else { return Err(Error::Empty("points")) };
        let norms: Vec<f32> = norms.iter().map(|&norm| norm as f32).collect();
        if norms.iter().any(|norm| !norm.is_finite()) {
            let why = "they overflow single precision: divide the points by their largest value";
            return Err(Error::Breakdown { what: "computing squared distances", why });
        }
        let factors = DistanceFactors::new(centred.view(), unit, &norms);
        Ok(Self { size: x.nrows(), form: SpaceForm::Points(factors, Box::new(points)) })
    }

    /// A given symmetric matrix of distances or similarities `D[n, n]`.
    ///
    /// Squared Euclidean distances of points with few coordinates are detected, and are then as fast as
    /// [`Space::squared_euclidean`].
    ///
    /// # Errors
    /// When the matrix is empty, not finite, not square, or asymmetric by more than 1e-4 of its largest
    /// entry.
    pub fn matrix(distances: ArrayView2<'_, f32>) -> Result<Self> {
        finite("distance matrix", distances, f32::is_finite)?;
        let n = distances.nrows();
        crate::same("columns of a distance matrix", n, distances.ncols())?;
        let top = distances.iter().fold(0.0_f32, |top, d| top.max(d.abs()));
        let skew = Zip::from(distances).and(distances.t()).fold(0.0_f32, |s, x, y| s.max((x - y).abs()));
        if skew > 1e-4 * top {
            let expected = "a symmetric matrix (largest |D - D^T| at most 1e-4 of the largest entry)";
            return Err(Error::Setting { what: "inner distances", expected, got: skew.into() });
        }
        let distances = distances.as_standard_layout().into_owned();
        let factors = DistanceFactors::detect(&distances, top);
        Ok(Self { size: n, form: SpaceForm::Matrix(distances, factors) })
    }

    /// Scales the distances so that the largest is one.
    pub fn normalised(mut self) -> Self {
        let top = self.rows(|_, row| row.iter().fold(0.0_f32, |top, d| top.max(d.abs())));
        let top = top.into_iter().fold(0.0_f32, f32::max);
        if top > 0.0 {
            self.divide(top);
        }
        self
    }

    /// Divides all distances by `top`.
    pub(super) fn divide(&mut self, top: f32) {
        match &mut self.form {
            SpaceForm::Matrix(d, factors) => {
                *d /= top;
                factors.iter_mut().for_each(|factors| factors.divide(top));
            }
            SpaceForm::Points(factors, _) => factors.divide(top),
        }
    }

    /// Returns the largest distance, or for points up to four times as much.
    pub(super) fn size_of_distances(&self) -> f32 {
        let largest = |values: ArrayView1<'_, f32>| values.iter().fold(0.0_f32, |top, v| top.max(v.abs()));
        match &self.form {
            SpaceForm::Matrix(d, _) => d.rows().into_iter().map(largest).fold(0.0, f32::max),
            // A squared distance is at most four times the larger squared norm.
            SpaceForm::Points(factors, _) => {
                4.0 * factors.scale as f32 * largest(factors.right.column(factors.rank() - 1))
            }
        }
    }

    /// Returns the number of points.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Calls `job` with every row of D, in parallel, and returns the results in order.
    pub(super) fn rows<T: Send>(&self, job: impl Fn(usize, &[f32]) -> T + Sync) -> Vec<T> {
        let n = self.size;
        // Blocks of one mebibyte, and at least a few per thread if there is more than one task.
        let blocks = match tasks(n * n) {
            1 => 1,
            threads => 4 * threads,
        };
        let step = ((1 << 18) / n).min(n.div_ceil(blocks)).max(1);
        (0..n.div_ceil(step))
            .into_par_iter()
            .flat_map_iter(|k| {
                let rows = k * step..((k + 1) * step).min(n);
                let mut block = vec![0.0; rows.len() * n];
                match &self.form {
                    SpaceForm::Matrix(d, _) => {
                        let whole = d.as_slice().unwrap_or_default();
                        block.copy_from_slice(&whole[rows.start * n..rows.end * n]);
                    }
                    SpaceForm::Points(factors, points) => {
                        points.costs(rows.clone(), &mut block);
                        block.iter_mut().for_each(|d| *d *= factors.scale as f32);
                    }
                }
                rows.zip(block.chunks(n)).map(|(i, row)| job(i, row)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Returns `D v` and `(D * D) v`, where `*` multiplies entry by entry.
    pub(super) fn moments(&self, v: &[f64]) -> (Vec<f64>, Vec<f64>) {
        self.rows(|_, row| {
            row.iter().zip(v).fold((0.0, 0.0), |(mean, square), (&d, v)| {
                let d = f64::from(d);
                (mean + d * v, square + d * d * v)
            })
        })
        .into_iter()
        .unzip()
    }

    /// Returns the factors of D if its rank is known to be low.
    fn factors(&self) -> Option<&DistanceFactors> {
        match &self.form {
            SpaceForm::Matrix(_, factors) => factors.as_ref(),
            SpaceForm::Points(factors, ..) => Some(factors),
        }
    }

    /// Returns the factors if the space was made from points.
    pub(super) fn of_points(&self) -> Option<&DistanceFactors> {
        self.factors().filter(|_| matches!(self.form, SpaceForm::Points(..)))
    }

    /// Returns the number of columns of the factors, or the size if there are none.
    fn rank(&self) -> usize {
        self.factors().map_or(self.size, DistanceFactors::rank)
    }

    /// Returns `D M` for `M[n, k]`, using the factors if there are any.
    pub(super) fn times(&self, m: ArrayView2<'_, f32>) -> Array2<f32> {
        match &self.form {
            SpaceForm::Matrix(_, Some(factors)) | SpaceForm::Points(factors, ..) => factors.times(m),
            SpaceForm::Matrix(d, None) => product(1.0, d.view(), m),
        }
    }

    /// Returns `D M` for `M[n, k]`, using the given matrix if the space was made from one.
    fn given_times(&self, m: ArrayView2<'_, f32>) -> Array2<f32> {
        match &self.form {
            SpaceForm::Matrix(d, _) => product(1.0, d.view(), m),
            SpaceForm::Points(factors, ..) => factors.times(m),
        }
    }
}

/// Returns `factor * D_x T D_y` for a plan `T[n, m]` or a difference of plans, multiplied in the cheapest
/// order. Rows of zeros and zeros in few entries cost nothing.
pub(super) fn sandwich(factor: f32, x: &Space, plan: ArrayView2<'_, f32>, y: &Space) -> Array2<f32> {
    match (&x.form, &y.form) {
        (SpaceForm::Matrix(_, Some(f)) | SpaceForm::Points(f, ..), _) if f.rank() < y.rank() => {
            let inner = y.times(product(1.0, plan.t(), f.left.view()).view());
            product(factor, f.right.view(), inner.t())
        }
        (_, SpaceForm::Matrix(_, Some(g)) | SpaceForm::Points(g, ..)) => {
            let inner = x.times(product(1.0, plan, g.left.view()).view());
            product(factor, inner.view(), g.right.t())
        }
        (SpaceForm::Matrix(d, None), SpaceForm::Matrix(e, None)) => {
            let full = |row: &ArrayView1<'_, f32>| row.iter().any(|&p| p != 0.0);
            let rows: Vec<usize> =
                plan.rows().into_iter().enumerate().filter(|(_, row)| full(row)).map(|(i, _)| i).collect();
            let inner = times_rows(plan, &rows, e);
            match rows.len() == plan.nrows() {
                true => product(factor, d.view(), inner.view()),
                // D is symmetric: its rows are its columns.
                false => product(factor, d.select(Axis(0), &rows).t(), inner.view()),
            }
        }
        (_, SpaceForm::Matrix(e, None)) => product(factor, x.times(plan).view(), e.view()),
    }
}

/// Returns the chosen rows of `T D`, by sums of rows of D if T has few entries.
fn times_rows(plan: ArrayView2<'_, f32>, rows: &[usize], d: &Array2<f32>) -> Array2<f32> {
    let entries = plan.iter().filter(|&&p| p != 0.0).count();
    if entries * SPARSE > rows.len() * plan.ncols() {
        return match rows.len() == plan.nrows() {
            true => product(1.0, plan, d.view()),
            false => product(1.0, plan.select(Axis(0), rows).view(), d.view()),
        };
    }
    let mut inner = Array2::zeros((rows.len(), d.ncols()));
    for (&i, mut sum) in rows.iter().zip(inner.rows_mut()) {
        for (&mass, row) in plan.row(i).iter().zip(d.rows()).filter(|(mass, _)| **mass != 0.0) {
            sum.scaled_add(mass, &row);
        }
    }
    inner
}

/// Returns `<D_x T D_y, T>`, using the given matrices where the spaces were made from matrices.
pub(super) fn agreement(x: &Space, plan: &Array2<f32>, y: &Space) -> f64 {
    match (x.of_points(), y.of_points()) {
        (Some(f), Some(g)) => f.agreement(plan, g),
        _ => super::entrywise::dot(&x.given_times(plan.view()), &y.given_times(plan.t()).reversed_axes()),
    }
}
