//! The result of an entropic solve: potentials, a report, and the plan in several forms.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;
use std::time::Instant;

use super::engine::ScalingEngine;
use super::rule::potentials;
use crate::{Result, StopReason, simd};

/// How an iteration ended. `columns` are the column sums of the last sweep.
pub(super) struct IterationOutcome {
    pub stop: StopReason,
    pub error: f64,
    pub iterations: usize,
    pub columns: Vec<f64>,
}

/// Statistics of an entropic solve.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CouplingReport {
    /// `<P, C>`, without the entropy term.
    pub transport_cost: f64,
    /// The dual value, which at the optimum is `<P, C> + epsilon KL(P | a b^T)`. Balanced problems only.
    pub dual: Option<f64>,
    /// The mass of the plan.
    pub mass: f64,
    /// L1 distance of both marginals from their constraints, divided by the mass.
    pub marginal_error: f64,
    /// Number of iterations; each updates both sides.
    pub iterations: usize,
    /// Wall time.
    pub seconds: f64,
    /// Why it stopped.
    pub stop: StopReason,
    /// The regularisation, in units of the cost.
    pub epsilon: f64,
    /// Bound of the relative error of the plan's entries that single precision causes.
    pub rounding: f64,
}

/// An entropic plan, stored as dual potentials and, if it fitted into memory, the kernel.
///
/// ```
/// use chiasm_transport::{Cost, Sinkhorn, uniform};
/// let x = ndarray::array![[0.0_f32], [1.0]];
/// let cost = Cost::squared_euclidean(x.view(), x.view())?;
/// let coupling = Sinkhorn::new(0.1).solve(&cost, &uniform(2), &uniform(2))?;
/// let images = coupling.barycentric(x.view())?;
/// assert!((images[[1, 0]] - 1.0).abs() < 1e-3);
/// assert!((coupling.into_plan().sum() - 1.0).abs() < 1e-5);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
pub struct Coupling<'a> {
    /// Statistics of the solve.
    pub report: CouplingReport,
    pub(super) engine: ScalingEngine<'a>,
    mass: f64,
}

impl<'a> Coupling<'a> {
    pub(super) fn new(
        engine: ScalingEngine<'a>,
        mass: f64,
        outcome: IterationOutcome,
        balanced: bool,
        clock: Instant,
    ) -> Self {
        let w = engine.target_weights();
        let moved: f64 = w.iter().zip(&outcome.columns).map(|(&w, t)| f64::from(w) * t).sum();
        let (epsilon, rounding) = (engine.epsilon, rounding(&engine));
        let (mean, least) = (engine.cost.mean(), engine.cost.least());
        // The size of the costs; their mean may be zero although they are not.
        let unit = mean.abs().max(-least);
        let transport_cost = if epsilon < unit || unit == 0.0 {
            from_kernel(&engine, &w, &outcome)
        } else {
            from_costs(&engine, &w, unit)
        };
        // No plan costs less than the least cost, but sums are rounded.
        let transport_cost = mass * transport_cost.max(least * moved);
        let mut coupling = Self {
            engine,
            mass,
            report: CouplingReport {
                transport_cost,
                dual: None,
                mass: mass * moved,
                marginal_error: outcome.error,
                iterations: outcome.iterations,
                seconds: 0.0,
                stop: outcome.stop,
                epsilon,
                rounding,
            },
        };
        if balanced {
            let sum = |w: &[f64], f: Array1<f64>| w.iter().zip(&f).map(|(w, f)| w * f).sum::<f64>();
            let linear = sum(&coupling.engine.a, coupling.source_potential())
                + sum(&coupling.engine.b, coupling.target_potential());
            coupling.report.dual = Some(mass * (linear - epsilon * (moved - 1.0)));
        }
        coupling.report.seconds = clock.elapsed().as_secs_f64();
        coupling
    }

    /// Returns the source potential `f[n]` in units of the cost:
    /// `P_ij = mass a_i b_j exp((f_i + g_j - C_ij) / epsilon)` for weights that sum to one.
    pub fn source_potential(&self) -> Array1<f64> {
        let engine = &self.engine;
        (Array1::from(potentials(&engine.phi, &engine.u)) + engine.translation) * engine.epsilon
    }

    /// Returns the target potential `g[m]` in units of the cost.
    pub fn target_potential(&self) -> Array1<f64> {
        let engine = &self.engine;
        (Array1::from(potentials(&engine.psi, &engine.v)) - engine.translation) * engine.epsilon
    }

    /// Returns the weights of both sides as the solver used them.
    pub(crate) fn weights(&self) -> (&[f64], &[f64]) {
        (&self.engine.a, &self.engine.b)
    }

    /// Returns the dense plan `P[n, m]`.
    pub fn plan(&self) -> Array2<f32> {
        let (n, m) = self.engine.cost.shape();
        let w = self.engine.target_weights();
        let blocks = self.engine.blocks(|rows, block| {
            let mut block = block.to_vec();
            self.scale(rows.start, &mut block, &w);
            block
        });
        Array2::from_shape_vec((n, m), blocks.concat()).unwrap_or_default()
    }

    /// Returns the dense plan `P[n, m]`, reusing the memory of the kernel if it was stored.
    pub fn into_plan(mut self) -> Array2<f32> {
        let (n, m) = self.engine.cost.shape();
        let Some(mut kernel) = self.engine.kernel.take() else { return self.plan() };
        let w = self.engine.target_weights();
        kernel.par_chunks_mut(64 * m).enumerate().for_each(|(k, block)| self.scale(k * 64, block, &w));
        Array2::from_shape_vec((n, m), kernel).unwrap_or_default()
    }

    /// Returns the barycentric targets `T[i] = sum_j P_ij y_j / sum_j P_ij`, `[n, d]`, given the target
    /// points `y[m, d]`: the mean of the points that each source point is sent to.
    ///
    /// The target of a source point without mass (unbalanced or partial transport) is computed from its
    /// kernel row.
    ///
    /// # Errors
    /// When `y` does not have one row per target point.
    pub fn barycentric(&self, y: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let (n, m) = self.engine.cost.shape();
        crate::same("rows of the target points", m, y.nrows())?;
        let d = y.ncols();
        let w = self.engine.target_weights();
        let weighted: Vec<f32> =
            y.rows().into_iter().zip(&w).flat_map(|(row, w)| row.into_iter().map(move |v| v * w)).collect();
        let right = MatRef::from_row_major_slice(&weighted, m, d);
        let blocks = self.engine.blocks(|rows, block| {
            let mut out = vec![0.0; rows.len() * d];
            let left = MatRef::from_row_major_slice(block, rows.len(), m);
            matmul(
                MatMut::from_row_major_slice_mut(&mut out, rows.len(), d),
                Accum::Replace,
                left,
                right,
                1.0,
                Par::Seq,
            );
            for (out, row) in out.chunks_mut(d.max(1)).zip(block.chunks(m)) {
                let sum = simd::dots([row; 4], &w)[0];
                out.iter_mut().for_each(|v| *v = (f64::from(*v) / sum) as f32);
            }
            out
        });
        Ok(Array2::from_shape_vec((n, d), blocks.concat()).unwrap_or_default())
    }

    /// Turns kernel rows into plan rows, in place.
    fn scale(&self, first: usize, block: &mut [f32], w: &[f32]) {
        for (i, row) in (first..).zip(block.chunks_mut(w.len())) {
            let factor = (self.mass * self.engine.a[i] * f64::from(self.engine.u[i])) as f32;
            row.iter_mut().zip(w).for_each(|(e, w)| *e *= factor * w);
        }
    }
}

/// Returns the error of the exponents of entries with mass that rounding to single precision causes. Such an
/// exponent is about as large as the potentials, including the parts of the cost that they carry.
fn rounding(engine: &ScalingEngine<'_>) -> f64 {
    let (cost, epsilon) = (&engine.cost, engine.epsilon);
    let source = (0..engine.a.len()).filter(|&i| engine.a[i] > 0.0);
    let target = (0..engine.b.len()).filter(|&j| engine.b[j] > 0.0);
    let top = |sizes: &mut dyn Iterator<Item = f64>| sizes.fold(0.0_f64, |top, size| top.max(size.abs()));
    let source = top(&mut source.map(|i| engine.phi[i] + cost.source_offset(i, epsilon)));
    let target = top(&mut target.map(|j| engine.psi[j] + cost.target_offset(j, epsilon)));
    f64::from(f32::EPSILON) * (source + target)
}

/// Returns `<P, C> = epsilon (sum_i r_i phi_i + sum_j c_j psi_j - sum P ln E)`, without computing costs
/// again.
fn from_kernel(engine: &ScalingEngine<'_>, w: &[f32], outcome: &IterationOutcome) -> f64 {
    let rows: Vec<f64> = engine.blocks(|rows, block| {
        rows.zip(block.chunks(w.len()))
            .map(|(i, row)| {
                let (mass, entropy) = simd::entropy(row, w);
                engine.a[i] * f64::from(engine.u[i]) * (mass * engine.phi[i] - entropy)
            })
            .sum()
    });
    let columns = w.iter().zip(&outcome.columns).zip(&engine.psi);
    let columns: f64 = columns.map(|((&w, t), psi)| f64::from(w) * t * psi).sum();
    engine.epsilon * (rows.iter().sum::<f64>() + columns)
}

/// Returns `<P, C>` from recomputed costs, in multiples of `unit`. If epsilon is above all costs, the kernel
/// is nearly one and its logarithm is only rounding error.
fn from_costs(engine: &ScalingEngine<'_>, w: &[f32], unit: f64) -> f64 {
    let (cost, m) = (&engine.cost, w.len());
    let offsets: Vec<f64> = (0..m).map(|j| cost.target_offset(j, unit)).collect();
    let rows: Vec<f64> = engine.blocks(|rows, block| {
        let mut exponents = vec![0.0; block.len()];
        cost.exponents(rows.clone(), unit, &mut exponents);
        let lanes = block.chunks(m).zip(exponents.chunks(m));
        rows.zip(lanes)
            .map(|(i, (row, exponents))| {
                let own = cost.source_offset(i, unit);
                let entries = row.iter().zip(w).zip(exponents).zip(&offsets);
                let sum: f64 = entries
                    .map(|(((&e, &w), &c), offset)| {
                        f64::from(e) * f64::from(w) * (f64::from(c) + own + offset)
                    })
                    .sum();
                engine.a[i] * f64::from(engine.u[i]) * sum
            })
            .sum()
    });
    -unit * rows.iter().sum::<f64>()
}
