//! Large clouds: solve a sample, carry its potential over to all points, and refine without ever holding the kernel.
//!
//! Potentials are smooth functions of the points, so those of a few thousand points, carried over by one soft minimum,
//! start the full problem within some per cent of its solution. Memory is linear: blocks of at most 32 MiB for each thread.

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use super::{Coupling, Marginals, Sinkhorn};
use crate::{Cost, Error, Result, simd, uniform};

/// Points of each side in the coarse problem: its kernel takes 64 MiB.
const SAMPLE: usize = 4000;
/// Rows of costs made at a time.
const BLOCK_ROWS: usize = 64;

impl Sinkhorn {
    /// These settings started from the solution of an evenly spaced sample of clouds `x[n, d]`, `y[m, d]` with equal weights;
    /// `make` makes a cost from two clouds, e.g. [`Cost::squared_euclidean`].
    ///
    /// # Errors
    /// As [`Sinkhorn::solve`], and for marginals that are not balanced.
    pub fn coarse_start(
        &self,
        x: ArrayView2<'_, f32>,
        y: ArrayView2<'_, f32>,
        make: impl Fn(ArrayView2<'_, f32>, ArrayView2<'_, f32>) -> Result<Cost<'static>>,
    ) -> Result<Self> {
        if self.marginals != Marginals::Balanced {
            let why = "a coarse start is for balanced transport: take it away, or use balanced marginals";
            return Err(Error::Breakdown { what: "the coarse start", why });
        }
        let pick = |n: usize| (0..n.min(SAMPLE)).map(|k| k * n / n.min(SAMPLE)).collect::<Vec<_>>();
        let (rows, columns) = (pick(x.nrows()), pick(y.nrows()));
        let (few_x, few_y) = (x.select(Axis(0), &rows), y.select(Axis(0), &columns));
        let coarse = make(few_x.view(), few_y.view())?;
        let solved = self.clone().tolerance(self.tolerance.max(1e-3)).solve(
            &coarse,
            &uniform(rows.len()),
            &uniform(columns.len()),
        )?;
        let all = make(few_x.view(), y)?;
        let carried = solved.target_potential_on(&all)?;
        Ok(self.clone().epsilon(solved.report.epsilon).start(&carried))
    }
}

impl Coupling<'_> {
    /// The target's potential at other points: `cost` is between the same source points and them,
    /// `g(y) = -epsilon ln sum_i a_i exp((f_i - c(x_i, y)) / epsilon)`. The out-of-sample map is its gradient.
    ///
    /// # Errors
    /// When the cost's source has another number of points.
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
