//! A space known by its inner distances: a matrix, or points whose squared distances have low rank.
//!
//! `D = p 1^T + 1 p^T - 2 X X^T` has rank d + 2, so that `D_x T D_y`, the heart of every Gromov-Wasserstein
//! method, costs `O(n^2 d)` and not `O(n^3)` (Peyré et al. 2016; Scetbon et al. 2022, arXiv 2106.01128).

use ndarray::{Array2, ArrayView2, Zip};
use rayon::prelude::*;

use super::factors::Factors;
use super::product::product;
use crate::{Cost, Error, Result};

/// Inner distances `D[n, n]` of one cloud, symmetric.
#[derive(Debug, Clone)]
pub struct Space {
    size: usize,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// As given, and what was found hidden in it.
    Matrix(Array2<f32>, Option<Factors>),
    /// With the points that make blocks of D, but for the factors' scale, where all of it is wanted.
    Points(Factors, Box<Cost<'static>>),
}

impl Space {
    /// Squared Euclidean distances of points `x[n, d]`.
    ///
    /// # Errors
    /// When there are no points, one is not finite, or a square leaves single precision.
    pub fn squared_euclidean(x: ArrayView2<'_, f32>) -> Result<Self> {
        let points = Cost::squared_euclidean(x, x)?;
        let Some((centred, norms, unit)) = points.squared_parts() else { return Err(Error::Empty("points")) };
        let norms: Vec<f32> = norms.iter().map(|norm| (norm * unit) as f32).collect();
        if norms.iter().any(|norm| !norm.is_finite()) {
            let why = "they leave single precision: divide the points by their largest value";
            return Err(Error::Breakdown { what: "squared distances", why });
        }
        let factors = Factors::new(centred.view(), unit, &norms);
        Ok(Self { size: x.nrows(), form: Form::Points(factors, Box::new(points)) })
    }

    /// A given symmetric matrix of distances or similarities `D[n, n]`.
    ///
    /// Squared Euclidean distances of points with few coordinates are recognised, and then cost as little as
    /// the points.
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
        let distances = distances.as_standard_layout().into_owned();
        let factors = Factors::hidden_in(&distances, top);
        Ok(Self { size: n, form: Form::Matrix(distances, factors) })
    }

    /// The same space with its largest distance at one.
    pub fn normalised(mut self) -> Self {
        let top = self.rows(|_, row| row.iter().fold(0.0_f32, |top, d| top.max(d.abs())));
        let top = top.into_iter().fold(0.0_f32, f32::max);
        if top > 0.0 {
            match &mut self.form {
                Form::Matrix(d, factors) => {
                    *d /= top;
                    factors.iter_mut().for_each(|factors| factors.divide(top));
                }
                Form::Points(factors, _) => factors.divide(top),
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
        // Blocks of a megabyte, and some for every thread.
        let step = ((1 << 18) / n).min(n.div_ceil(4 * rayon::current_num_threads())).max(1);
        (0..n.div_ceil(step))
            .into_par_iter()
            .flat_map_iter(|k| {
                let rows = k * step..((k + 1) * step).min(n);
                let mut block = vec![0.0; rows.len() * n];
                match &self.form {
                    Form::Matrix(d, _) => {
                        let whole = d.as_slice().unwrap_or_default();
                        block.copy_from_slice(&whole[rows.start * n..rows.end * n]);
                    }
                    Form::Points(factors, points) => {
                        points.costs(rows.clone(), &mut block);
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

    /// `D = left right^T` where its rank is known to be low.
    fn factors(&self) -> Option<&Factors> {
        match &self.form {
            Form::Matrix(_, factors) => factors.as_ref(),
            Form::Points(factors, ..) => Some(factors),
        }
    }

    /// The factors of a space that was given by its points.
    pub(super) fn of_points(&self) -> Option<&Factors> {
        self.factors().filter(|_| matches!(self.form, Form::Points(..)))
    }

    /// Columns of the factors; the whole size where there are none.
    fn rank(&self) -> usize {
        self.factors().map_or(self.size, Factors::rank)
    }

    /// `D M` for `M[n, k]`, through the factors where there are any.
    pub(super) fn times(&self, m: ArrayView2<'_, f32>) -> Array2<f32> {
        match &self.form {
            Form::Matrix(_, Some(factors)) | Form::Points(factors, ..) => factors.times(m),
            Form::Matrix(d, None) => product(1.0, d.view(), m),
        }
    }

    /// `D M` by what was given: the matrix, if it was one.
    fn given_times(&self, m: ArrayView2<'_, f32>) -> Array2<f32> {
        match &self.form {
            Form::Matrix(d, _) => product(1.0, d.view(), m),
            Form::Points(factors, ..) => factors.times(m),
        }
    }
}

/// `factor * D_x T D_y` for a plan `T[n, m]`, by the cheapest order.
pub(super) fn sandwich(factor: f32, x: &Space, plan: ArrayView2<'_, f32>, y: &Space) -> Array2<f32> {
    match (x.factors(), &y.form) {
        (Some(f), _) if f.rank() < y.rank() => {
            let inner = y.times(product(1.0, plan.t(), f.left.view()).view());
            product(factor, f.right.view(), inner.t())
        }
        (_, Form::Matrix(_, Some(g)) | Form::Points(g, ..)) => {
            let inner = x.times(product(1.0, plan, g.left.view()).view());
            product(factor, inner.view(), g.right.t())
        }
        (_, Form::Matrix(e, None)) => product(factor, x.times(plan).view(), e.view()),
    }
}

/// `<D_x T D_y, T>` by what was given.
pub(super) fn agreement(x: &Space, plan: &Array2<f32>, y: &Space) -> f64 {
    match (x.of_points(), y.of_points()) {
        (Some(f), Some(g)) => f.agreement(plan, g),
        _ => super::product::dot(&x.given_times(plan.view()), &y.given_times(plan.t()).reversed_axes()),
    }
}
