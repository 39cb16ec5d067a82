//! A space known by its inner distances: a matrix, or points whose squared distances have low rank.
//!
//! `D = p 1^T + 1 p^T - 2 X X^T` has rank d + 2, so that `D_x T D_y`, the heart of every Gromov-Wasserstein method, costs
//! `O(n^2 d)` and not `O(n^3)` (Peyré et al. 2016; Scetbon et al. 2022, arXiv 2106.01128).

use faer::{Accum, Mat, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array2, ArrayView2, Zip};
use rayon::prelude::*;

use crate::{Cost, Error, Result, gaussian::times};

/// Inner distances `D[n, n]` of one cloud, symmetric.
#[derive(Debug, Clone)]
pub struct Space {
    size: usize,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Dense(Array2<f32>),
    Factors(Box<Factors>),
}

/// `D = left right^T`, both `[n, d + 2]`; the points make blocks of `scale * D` where all of it is wanted.
#[derive(Debug, Clone)]
struct Factors {
    left: Array2<f32>,
    right: Array2<f32>,
    points: Cost<'static>,
    scale: f64,
}

impl Space {
    /// Squared Euclidean distances of points `x[n, d]`.
    ///
    /// # Errors
    /// When there are no points, one is not finite, or a square leaves single precision.
    pub fn squared_euclidean(x: ArrayView2<'_, f32>) -> Result<Self> {
        let points = Cost::squared_euclidean(x, x)?;
        let (n, d) = x.dim();
        let Some((centred, norms, unit)) = points.squared_parts() else { return Err(Error::Empty("points")) };
        let mut left = Array2::zeros((n, d + 2));
        let mut right = Array2::zeros((n, d + 2));
        for i in 0..n {
            let norm = (norms[i] * unit) as f32;
            if !norm.is_finite() {
                let why = "they leave single precision: divide the points by their largest value";
                return Err(Error::Breakdown { what: "squared distances", why });
            }
            for k in 0..d {
                left[[i, k]] = (-2.0 * unit) as f32 * centred[[i, k]];
                right[[i, k]] = centred[[i, k]];
            }
            (left[[i, d]], left[[i, d + 1]]) = (norm, 1.0);
            (right[[i, d]], right[[i, d + 1]]) = (1.0, norm);
        }
        Ok(Self { size: n, form: Form::Factors(Box::new(Factors { left, right, points, scale: 1.0 })) })
    }

    /// A given symmetric matrix of distances or similarities `D[n, n]`.
    ///
    /// # Errors
    /// When it is empty, not finite, not square, or not symmetric within 1e-4 of its largest entry.
    pub fn matrix(distances: ArrayView2<'_, f32>) -> Result<Self> {
        Cost::matrix(distances)?;
        let n = distances.nrows();
        crate::same("columns of a distance matrix", n, distances.ncols())?;
        let top = distances.iter().fold(0.0_f32, |top, d| top.max(d.abs()));
        let skew = Zip::from(distances).and(distances.t()).fold(0.0_f32, |s, x, y| s.max((x - y).abs()));
        if skew > 1e-4 * top {
            let expected = "a symmetric matrix (largest difference of D and its transpose)";
            return Err(Error::Setting { what: "inner distances", expected, got: skew.into() });
        }
        Ok(Self { size: n, form: Form::Dense(distances.as_standard_layout().into_owned()) })
    }

    /// The same space with its largest distance at one.
    pub fn normalised(mut self) -> Self {
        let top = self.rows(|_, row| row.iter().fold(0.0_f32, |top, d| top.max(d.abs())));
        let top = top.into_iter().fold(0.0_f32, f32::max);
        if top > 0.0 {
            match &mut self.form {
                Form::Dense(d) => *d /= top,
                Form::Factors(factors) => {
                    factors.left /= top;
                    factors.scale /= f64::from(top);
                }
            }
        }
        self
    }

    /// Points in the space.
    pub fn size(&self) -> usize {
        self.size
    }

    /// What `job` makes of every row of distances, in order.
    pub(super) fn rows<T: Send>(&self, job: impl Fn(usize, &[f32]) -> T + Sync) -> Vec<T> {
        let n = self.size;
        let step = ((1 << 18) / n).max(1);
        (0..n.div_ceil(step))
            .into_par_iter()
            .flat_map_iter(|k| {
                let rows = k * step..((k + 1) * step).min(n);
                let mut block = vec![0.0; rows.len() * n];
                match &self.form {
                    Form::Dense(d) => {
                        let whole = d.as_slice().unwrap_or_default();
                        block.copy_from_slice(&whole[rows.start * n..rows.end * n]);
                    }
                    Form::Factors(factors) => {
                        factors.points.costs(rows.clone(), &mut block);
                        block.iter_mut().for_each(|d| *d *= factors.scale as f32);
                    }
                }
                rows.zip(block.chunks(n)).map(|(i, row)| job(i, row)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// `D v` and `(D * D) v`, entry by entry squared.
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

    /// `left` and `right` of `D = left right^T` for points; their coordinates come first in `right`.
    pub(super) fn factors(&self) -> Option<[ArrayView2<'_, f32>; 2]> {
        match &self.form {
            Form::Dense(_) => None,
            Form::Factors(f) => Some([f.left.view(), f.right.view()]),
        }
    }

    /// `D M` for `M[n, k]`.
    pub(super) fn times(&self, m: ArrayView2<'_, f32>) -> Array2<f32> {
        match &self.form {
            Form::Dense(d) => product(1.0, d.view(), m),
            Form::Factors(f) => product(1.0, f.left.view(), product(1.0, f.right.t(), m).view()),
        }
    }
}

/// `factor * D_x T D_y` for a plan `T[n, m]`, by the cheapest order.
pub(super) fn sandwich(factor: f32, x: &Space, plan: ArrayView2<'_, f32>, y: &Space) -> Array2<f32> {
    match (&x.form, &y.form) {
        (Form::Dense(d), Form::Dense(e)) => product(factor, product(1.0, d.view(), plan).view(), e.view()),
        (Form::Factors(f), form) if form.rank() > f.left.ncols() => {
            let inner = y.times(product(1.0, plan.t(), f.left.view()).view());
            product(factor, f.right.view(), inner.t())
        }
        (_, Form::Factors(f)) => {
            let inner = x.times(product(1.0, plan, f.left.view()).view());
            product(factor, inner.view(), f.right.t())
        }
        (Form::Factors(f), Form::Dense(e)) => {
            let inner = product(1.0, e.view(), product(1.0, plan.t(), f.left.view()).view());
            product(factor, f.right.view(), inner.t())
        }
    }
}

/// `<D_x T D_y, T>`; between points in double precision, for the factors' products cancel.
pub(super) fn agreement(x: &Space, plan: &Array2<f32>, y: &Space) -> f64 {
    let (Form::Factors(f), Form::Factors(g)) = (&x.form, &y.form) else {
        return super::dot(&sandwich(1.0, x, plan.view(), y), plan);
    };
    let wide = |z: &Array2<f32>| Mat::from_fn(z.nrows(), z.ncols(), |i, j| f64::from(z[[i, j]]));
    let plan = wide(plan);
    let between =
        |a: &Array2<f32>, b: &Array2<f32>| times(&wide(a).transpose().to_owned(), &times(&plan, &wide(b)));
    let (left, right) = (between(&f.left, &g.right), between(&f.right, &g.left));
    (0..left.nrows()).map(|i| (0..left.ncols()).map(|j| left[(i, j)] * right[(i, j)]).sum::<f64>()).sum()
}

impl Form {
    /// Columns of the factors; the whole size where there are none.
    fn rank(&self) -> usize {
        match self {
            Form::Dense(d) => d.ncols(),
            Form::Factors(f) => f.left.ncols(),
        }
    }
}

/// `factor * a b` on all threads.
pub(super) fn product(factor: f32, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let shape = out.dim();
    if let Some(slice) = out.as_slice_mut() {
        let out = MatMut::from_row_major_slice_mut(slice, shape.0, shape.1);
        let (a, b) = (a.laid_out(), b.laid_out());
        matmul(out, Accum::Replace, a.faer(), b.faer(), factor, Par::rayon(0));
    }
    out
}

/// A matrix as faer sees it without a copy: its memory row after row, or that of its transpose.
struct Laid<'a> {
    memory: ndarray::CowArray<'a, f32, ndarray::Ix2>,
    transposed: bool,
}

trait Lay<'a> {
    fn laid_out(self) -> Laid<'a>;
}

impl<'a> Lay<'a> for ArrayView2<'a, f32> {
    fn laid_out(self) -> Laid<'a> {
        let transposed = !self.is_standard_layout() && self.t().is_standard_layout();
        let view = if transposed { self.reversed_axes() } else { self };
        let memory = if view.is_standard_layout() {
            view.into()
        } else {
            view.as_standard_layout().into_owned().into()
        };
        Laid { memory, transposed }
    }
}

impl Laid<'_> {
    fn faer(&self) -> MatRef<'_, f32> {
        let (rows, columns) = self.memory.dim();
        let view = MatRef::from_row_major_slice(self.memory.as_slice().unwrap_or_default(), rows, columns);
        if self.transposed { view.transpose() } else { view }
    }
}
