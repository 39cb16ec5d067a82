//! A coarse start for large clouds: solve a sample and extend its potential to all points.
//!
//! Potentials are smooth functions of the points. Those of a few thousand points, extended by one soft
//! minimum, start the full problem within a few per cent of its solution. Memory is linear in the number of
//! points: blocks of at most 32 MiB per thread.

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use super::{Coupling, Marginals, Sinkhorn};
use crate::{Cost, Error, Result, simd, uniform};

/// Points of each side in the coarse problem: its kernel takes 64 MiB.
const SAMPLE: usize = 4000;
/// Rows of costs that are computed at a time.
const BLOCK_ROWS: usize = 64;

impl Sinkhorn {
    /// Solves an evenly spaced sample of the clouds `x[n, d]` and `y[m, d]` with equal weights. Returns these
    /// settings with its solution as the start for the whole clouds.
    ///
    /// `make` computes the cost of two clouds, for example [`Cost::squared_euclidean`].
    ///
    /// ```
    /// use chiasm_transport::{Cost, Sinkhorn, uniform};
    /// let x = ndarray::Array2::from_shape_fn((50, 2), |(i, k)| (i * (k + 3)) as f32 % 7.0);
    /// let cost = Cost::squared_euclidean(x.view(), x.view())?;
    /// let solver = Sinkhorn::of_mean_cost(0.05)
    ///     .memory(0) // do not store the kernel
    ///     .coarse_start(x.view(), x.view(), |x, y| Cost::squared_euclidean(x, y))?;
    /// let coupling = solver.solve(&cost, &uniform(50), &uniform(50))?;
    /// assert!(coupling.report.marginal_error < 1e-5);
    /// # Ok::<(), chiasm_transport::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Sinkhorn::solve`], and marginals that are not balanced.
    pub fn coarse_start(
        &self,
        x: ArrayView2<'_, f32>,
        y: ArrayView2<'_, f32>,
        make: impl Fn(ArrayView2<'_, f32>, ArrayView2<'_, f32>) -> Result<Cost<'static>>,
    ) -> Result<Self> {
        if self.marginals != Marginals::Balanced {
            let why = "it is defined for balanced transport: use Marginals::Balanced, or solve without it";
            return Err(Error::Breakdown { what: "the coarse start", why });
        }
        let pick = |n: usize| (0..n.min(SAMPLE)).map(|k| k * n / n.min(SAMPLE)).collect::<Vec<_>>();
        let (rows, columns) = (pick(x.nrows()), pick(y.nrows()));
        let (sample_x, sample_y) = (x.select(Axis(0), &rows), y.select(Axis(0), &columns));
        let coarse = make(sample_x.view(), sample_y.view())?;
        let solved = self.clone().tolerance(self.tolerance.max(1e-3)).solve(
            &coarse,
            &uniform(rows.len()),
            &uniform(columns.len()),
        )?;
        let all = make(sample_x.view(), y)?;
        let potential = solved.target_potential_on(&all)?;
        Ok(self.clone().epsilon(solved.report.epsilon).start(&potential))
    }
}

impl Coupling<'_> {
    /// Extends the target potential to other points:
    /// `g(y) = -epsilon ln sum_i a_i exp((f_i - c(x_i, y)) / epsilon)`.
    ///
    /// `cost` is the cost between the same source points and the new points `[k]`; the result is `[k]`.
    ///
    /// # Errors
    /// When the cost has another number of source points.
    pub fn target_potential_on(&self, cost: &Cost<'_>) -> Result<Vec<f64>> {
        let (n, m) = cost.shape();
        crate::same("source points of the cost", self.engine.a.len(), n)?;
        let epsilon = self.report.epsilon;
        let f = self.source_potential();
        let a = &self.engine.a;
        let share = n.div_ceil(rayon::current_num_threads());
        let parts: Vec<(Vec<f32>, Vec<f32>)> = (0..n)
            .into_par_iter()
            .step_by(share)
            .map(|start| {
                let (mut top, mut sum) = (vec![-1e30_f32; m], vec![0.0_f32; m]);
                let end = (start + share).min(n);
                for first in (start..end).step_by(BLOCK_ROWS) {
                    let rows = first..(first + BLOCK_ROWS).min(end);
                    let mut block = vec![0.0; rows.len() * m];
                    cost.exponents(rows.clone(), epsilon, &mut block);
                    for (i, row) in rows.zip(block.chunks(m)).filter(|(i, _)| a[*i] > 0.0) {
                        let alpha = f[i] / epsilon + cost.source_offset(i, epsilon) + a[i].ln();
                        simd::log_add(row, alpha as f32, &mut top, &mut sum);
                    }
                }
                (top, sum)
            })
            .collect();
        let value = |j: usize| {
            let top = parts.iter().map(|(top, _)| top[j]).fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = parts.iter().map(|(t, s)| f64::from(s[j]) * f64::from(t[j] - top).exp()).sum();
            -epsilon * (f64::from(top) + sum.ln() + cost.target_offset(j, epsilon))
        };
        Ok((0..m).map(value).collect())
    }
}
