//! What an entropic solver hands back: potentials, the report, and the plan in whatever form is wanted.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;
use std::time::Instant;

use super::engine::{Engine, potentials};
use crate::{Result, Stop, simd};

/// How an iteration ended; `columns` are the sums of the last sweep.
pub(super) struct Outcome {
    pub stop: Stop,
    pub error: f64,
    pub iterations: usize,
    pub columns: Vec<f64>,
}

/// How a solve went.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// `<P, C>`.
    pub transport_cost: f64,
    /// The dual value of the balanced problem: `<P, C> + epsilon KL(P | a b^T)` at its optimum.
    pub dual: Option<f64>,
    /// L1 distance of both marginals from what was asked, divided by the mass.
    pub marginal_error: f64,
    /// Iterations, each of both half steps.
    pub iterations: usize,
    /// Wall time.
    pub seconds: f64,
    /// Why it stopped.
    pub stop: Stop,
    /// The regularisation used, in units of the cost.
    pub epsilon: f64,
}

/// An entropic plan, held as potentials (and the kernel where it was stored).
pub struct Coupling<'a> {
    /// How the solve went.
    pub report: Report,
    pub(super) engine: Engine<'a>,
    mass: f64,
}

impl<'a> Coupling<'a> {
    pub(super) fn new(
        engine: Engine<'a>,
        mass: f64,
        outcome: Outcome,
        balanced: bool,
        clock: Instant,
    ) -> Self {
        let w = engine.target_weights();
        let moved: f64 = w.iter().zip(&outcome.columns).map(|(&w, t)| f64::from(w) * t).sum();
        let epsilon = engine.epsilon;
        let mean = engine.cost.mean();
        let transport_cost = mass
            * if epsilon < mean.abs() || mean == 0.0 {
                from_kernel(&engine, &w, &outcome)
            } else {
                from_costs(&engine, &w, mean)
            };
        let mut coupling = Self {
            engine,
            mass,
            report: Report {
                transport_cost: transport_cost.max(0.0),
                dual: None,
                marginal_error: outcome.error,
                iterations: outcome.iterations,
                seconds: 0.0,
                stop: outcome.stop,
                epsilon,
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

    /// The source's potential `f[n]`, in units of the cost: `P_ij = mass a_i b_j exp((f_i + g_j - C_ij) / epsilon)` with
    /// weights that sum to one.
    pub fn source_potential(&self) -> Array1<f64> {
        Array1::from(potentials(&self.engine.phi, &self.engine.u)) * self.engine.epsilon
    }

    /// The target's potential `g[m]`, in units of the cost.
    pub fn target_potential(&self) -> Array1<f64> {
        Array1::from(potentials(&self.engine.psi, &self.engine.v)) * self.engine.epsilon
    }

    /// Both sides' weights as the solve used them.
    pub(crate) fn weights(&self) -> (&[f64], &[f64]) {
        (&self.engine.a, &self.engine.b)
    }

    /// The dense plan `P[n, m]`.
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

    /// The dense plan, in the memory of the kernel where it was stored.
    pub fn into_plan(mut self) -> Array2<f32> {
        let (n, m) = self.engine.cost.shape();
        let Some(mut kernel) = self.engine.kernel.take() else { return self.plan() };
        let w = self.engine.target_weights();
        kernel.par_chunks_mut(64 * m).enumerate().for_each(|(k, block)| self.scale(k * 64, block, &w));
        Array2::from_shape_vec((n, m), kernel).unwrap_or_default()
    }

    /// Barycentric targets `T[i] = sum_j P_ij y_j / sum_j P_ij` for points `y[m, d]`: where the plan sends each source
    /// point on average. A point that the plan leaves alone (unbalanced, partial) goes where it would have gone.
    ///
    /// # Errors
    /// When `y` has another number of rows than the target.
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

    /// From kernel rows to plan rows, in place.
    fn scale(&self, first: usize, block: &mut [f32], w: &[f32]) {
        for (i, row) in (first..).zip(block.chunks_mut(w.len())) {
            let factor = (self.mass * self.engine.a[i] * f64::from(self.engine.u[i])) as f32;
            row.iter_mut().zip(w).for_each(|(e, w)| *e *= factor * w);
        }
    }
}

/// `<P, C> = epsilon (sum_i r_i phi_i + sum_j c_j psi_j - sum P ln E)`: no cost is computed again.
fn from_kernel(engine: &Engine<'_>, w: &[f32], outcome: &Outcome) -> f64 {
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

/// `<P, C>` with the costs made again, in units of their mean: where epsilon is above all of them the kernel is nearly
/// one, and its logarithm all rounding.
fn from_costs(engine: &Engine<'_>, w: &[f32], mean: f64) -> f64 {
    let (cost, m) = (engine.cost, w.len());
    let offsets: Vec<f64> = (0..m).map(|j| cost.target_offset(j, mean)).collect();
    let rows: Vec<f64> = engine.blocks(|rows, block| {
        let mut exponents = vec![0.0; block.len()];
        cost.exponents(rows.clone(), mean, &mut exponents);
        let lanes = block.chunks(m).zip(exponents.chunks(m));
        rows.zip(lanes)
            .map(|(i, (row, exponents))| {
                let own = cost.source_offset(i, mean);
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
    -mean * rows.iter().sum::<f64>()
}
