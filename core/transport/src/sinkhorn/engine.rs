//! One Sinkhorn iteration in one read of the kernel, stabilised by absorption.
//!
//! The potentials `phi` and `psi` (in units of epsilon) are absorbed into the kernel
//! `E = exp(phi_i + psi_j - C_ij / epsilon)`. The scalings `u` and `v` hold the changes since then and stay
//! near one. A sweep handles four rows at a time: their sums `s_i = sum_j E_ij b_j v_j` give the new `u_i`,
//! and while the rows are in the cache they are added to the column sums `t_j = sum_i a_i u_i E_ij`. An
//! iteration reads the kernel once and computes no exponentials. When a scaling leaves its range, the
//! potentials take one log-domain step and the kernel is recomputed (Schmitzer 2019, arXiv 1610.06519).
//! Streaming mode, for kernels that exceed the memory limit, recomputes blocks of the kernel in every sweep.

use rayon::prelude::*;
use std::{borrow::Cow, ops::Range};

use super::rule::{MarginalRule, lift, potentials};
use crate::{Cost, memory, simd, simd::ROWS, tasks::tasks};

/// Number of rows after which single-precision column sums are added to the double-precision ones.
const FLUSH: usize = 64;
/// Largest number of values in a streamed block (32 MiB per thread); with fewer, packing would dominate.
const BLOCK: usize = 8 << 20;

/// The kernel and the scalings of one problem.
pub(super) struct ScalingEngine<'a> {
    pub cost: Cow<'a, Cost<'a>>,
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    pub epsilon: f64,
    /// Absorbed potentials in units of epsilon.
    pub phi: Vec<f64>,
    pub psi: Vec<f64>,
    /// Must be added to all of `phi` and subtracted from all of `psi`; the kernel is the same without it.
    pub translation: f64,
    /// Scalings since the absorption.
    pub u: Vec<f32>,
    pub v: Vec<f32>,
    /// `E` in row-major order; `None` when streaming.
    pub kernel: Option<Vec<f32>>,
    shares: Vec<RowShare>,
    backwards: bool,
    /// The factor that lifts weights, a power of two.
    lift: f64,
}

/// The rows of one thread and its buffers.
struct RowShare {
    rows: Range<usize>,
    block: Vec<f32>,
    recent: Vec<f32>,
    columns: Vec<f64>,
    error: f64,
    spread: f32,
}

/// Statistics of a sweep.
pub(super) struct SweepResult {
    /// L1 distance of the row marginals from their constraint.
    pub error: f64,
    /// Largest |ln u|. Above the guard the scalings must be absorbed.
    pub spread: f32,
}

/// What a pass over the kernel does with the sum of a row.
#[derive(Clone, Copy)]
enum RowPass<'r> {
    /// Computes the new scaling of the row, with which the row is added to the column sums.
    Scale(&'r MarginalRule),
    /// Adds the row times its sum to the column sums, as a Hessian-vector product needs it.
    Couple(&'r MarginalRule),
}

impl<'a> ScalingEngine<'a> {
    /// Creates an engine at zero potentials. `stored` says whether to store the kernel.
    pub(super) fn new(cost: Cow<'a, Cost<'a>>, a: Vec<f64>, b: Vec<f64>, epsilon: f64, stored: bool) -> Self {
        let (n, m) = cost.shape();
        let share = n.div_ceil(tasks(n * m)).next_multiple_of(ROWS);
        let shares = (0..n)
            .step_by(share)
            .map(|start| RowShare {
                rows: start..(start + share).min(n),
                block: Vec::new(),
                recent: vec![0.0; m],
                columns: vec![0.0; m],
                error: 0.0,
                spread: 0.0,
            })
            .collect();
        let (phi, psi, u, v) = (vec![0.0; n], vec![0.0; m], vec![1.0; n], vec![1.0; m]);
        let kernel = stored.then(|| memory::zeros(n * m));
        let lift = lift(&a);
        let translation = 0.0;
        Self { cost, a, b, epsilon, phi, psi, translation, u, v, kernel, shares, backwards: false, lift }
    }

    /// Starts at `psi`. `phi` is chosen such that the largest entry of every row is one.
    pub(super) fn start(&mut self) {
        if self.kernel.is_none() {
            return self.log_step(&MarginalRule::balanced(), &MarginalRule::balanced());
        }
        self.build(true);
    }

    /// Computes the stored kernel from the absorbed potentials, or from `psi` and the maxima of the rows.
    pub(super) fn build(&mut self, from_maxima: bool) {
        let m = self.cost.shape().1;
        let Some(kernel) = &mut self.kernel else { return };
        let beta = target_exponents(&self.cost, &self.psi, self.epsilon);
        let (cost, epsilon) = (&self.cost, self.epsilon);
        let step = (BLOCK / m).next_multiple_of(ROWS).max(ROWS);
        let share_rows = self.shares[0].rows.len();
        kernel
            .par_chunks_mut(share_rows * m)
            .zip(self.phi.par_chunks_mut(share_rows))
            .zip(&self.shares)
            .for_each(|((kernel, phi), share)| {
                for (k, (block, phi)) in kernel.chunks_mut(step * m).zip(phi.chunks_mut(step)).enumerate() {
                    let first = share.rows.start + k * step;
                    cost.exponents(first..first + phi.len(), epsilon, block);
                    for ((i, row), phi) in (first..).zip(block.chunks_mut(m)).zip(phi) {
                        let offset = cost.source_offset(i, epsilon);
                        if from_maxima {
                            *phi = -offset - f64::from(simd::max_shifted(row, &beta));
                        }
                        simd::exp_shifted(row, (*phi + offset) as f32, &beta);
                    }
                }
            });
        self.u.fill(1.0);
        self.v.fill(1.0);
    }

    /// Absorbs the scalings and changes epsilon; the potentials in units of the cost do not change.
    pub(super) fn rescale(&mut self, epsilon: f64) {
        self.phi = potentials(&self.phi, &self.u);
        self.psi = potentials(&self.psi, &self.v);
        let factor = self.epsilon / epsilon;
        self.phi.iter_mut().chain(&mut self.psi).for_each(|potential| *potential *= factor);
        self.translation *= factor;
        self.epsilon = epsilon;
    }

    /// Continues from the last valid `v` in the log domain, after a scaling has left its range.
    pub(super) fn recover(&mut self, source: &MarginalRule, target: &MarginalRule) {
        self.psi = potentials(&self.psi, &self.v);
        self.log_step(source, target);
    }

    /// Takes one iteration from `psi` in the log domain, where no scaling can overflow, and recomputes the
    /// kernel.
    pub(super) fn log_step(&mut self, source: &MarginalRule, target: &MarginalRule) {
        let m = self.cost.shape().1;
        let (cost, epsilon, a) = (&self.cost, self.epsilon, &self.a);
        let psi = &self.psi;
        let plain = target_exponents(cost, &vec![0.0; m], epsilon);
        let weighted: Vec<f32> = (0..m)
            .map(|j| (psi[j] + cost.target_offset(j, epsilon) + self.b[j].ln()).max(-1e30) as f32)
            .collect();
        let step = (BLOCK / m).max(1);
        let share_rows = self.shares[0].rows.len();
        let columns: Vec<(Vec<f32>, Vec<f32>)> = self
            .phi
            .par_chunks_mut(share_rows)
            .zip(&self.shares)
            .map(|(phi, share)| {
                let (mut top, mut sum) = (vec![-1e30_f32; m], vec![0.0_f32; m]);
                let mut block = vec![0.0; step.min(phi.len()) * m];
                let mut row = vec![0.0; m];
                for (k, phi) in phi.chunks_mut(step).enumerate() {
                    let first = share.rows.start + k * step;
                    let block = &mut block[..phi.len() * m];
                    cost.exponents(first..first + phi.len(), epsilon, block);
                    for ((i, exponents), phi) in (first..).zip(block.chunks(m)).zip(phi) {
                        let offset = cost.source_offset(i, epsilon);
                        let largest = simd::max_shifted(exponents, &weighted);
                        row.copy_from_slice(exponents);
                        simd::exp_shifted(&mut row, -largest, &weighted);
                        let sum_row: f64 = row.iter().map(|&e| f64::from(e)).sum();
                        *phi = source.potential(f64::from(largest) + sum_row.ln() + offset, *phi);
                        if a[i] > 0.0 {
                            simd::log_add(exponents, (*phi + offset + a[i].ln()) as f32, &mut top, &mut sum);
                        }
                    }
                }
                (top, sum)
            })
            .collect();
        for j in 0..m {
            let top = columns.iter().map(|(top, _)| top[j]).fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = columns.iter().map(|(t, s)| f64::from(s[j]) * f64::from(t[j] - top).exp()).sum();
            self.psi[j] = target.potential(f64::from(top) + sum.ln() + f64::from(plain[j]), self.psi[j]);
        }
        self.u.fill(1.0);
        self.v.fill(1.0);
        self.build(false);
    }

    /// Updates `u` and the column sums, which [`ScalingEngine::column_sums`] returns.
    pub(super) fn sweep(&mut self, rule: &MarginalRule) -> SweepResult {
        self.pass(&self.target_weights(), RowPass::Scale(rule));
        SweepResult {
            error: self.shares.iter().map(|share| share.error).sum(),
            spread: self.shares.iter().map(|share| share.spread).fold(0.0, f32::max),
        }
    }

    /// Returns `tau P^T diag(1/a~) P x` for the plan of the last sweep, whose row marginals satisfy `rule`.
    pub(super) fn couple(&mut self, x: &[f64], rule: &MarginalRule) -> Vec<f64> {
        let w = self.target_weights();
        let wx: Vec<f32> = w.iter().zip(x).map(|(&w, x)| (f64::from(w) * x) as f32).collect();
        self.pass(&wx, RowPass::Couple(rule));
        self.column_sums().iter().zip(w).map(|(t, w)| t * f64::from(w)).collect()
    }

    fn pass(&mut self, w: &[f32], pass: RowPass<'_>) {
        let m = w.len();
        let beta = match self.kernel {
            Some(_) => Vec::new(),
            None => target_exponents(&self.cost, &self.psi, self.epsilon),
        };
        let backwards = self.backwards;
        self.backwards = !backwards;
        let job = PassInput {
            cost: &self.cost,
            a: &self.a,
            epsilon: self.epsilon,
            phi: &self.phi,
            w,
            beta: &beta,
            pass,
            backwards,
            lift: self.lift,
        };
        let rows = self.shares[0].rows.len();
        let us = self.u.par_chunks_mut(rows);
        match &self.kernel {
            Some(kernel) => us
                .zip(&mut self.shares)
                .zip(kernel.par_chunks(rows * m))
                .for_each(|((u, share), kernel)| share.sweep(&job, u, kernel)),
            None => us.zip(&mut self.shares).for_each(|(u, share)| share.stream(&job, u)),
        }
    }

    /// Returns the mass of the plan, from the column sums of the last sweep.
    pub(super) fn moved(&self, columns: &[f64]) -> f64 {
        self.b.iter().zip(&self.v).zip(columns).map(|((b, &v), t)| b * f64::from(v) * t).sum()
    }

    /// Returns the largest potential of a source point with mass, in units of epsilon.
    pub(super) fn top_source_potential(&self) -> f64 {
        let potentials = potentials(&self.phi, &self.u).into_iter().zip(&self.a);
        let top = potentials.filter(|(f, a)| **a > 0.0 && f.is_finite()).map(|(f, _)| f);
        top.reduce(f64::max).unwrap_or(0.0)
    }

    /// Returns `b_j v_j`.
    pub(super) fn target_weights(&self) -> Vec<f32> {
        self.b.iter().zip(&self.v).map(|(b, &v)| (b * f64::from(v)) as f32).collect()
    }

    /// Calls `job` with every block of kernel rows, in parallel, and returns the results in order. When
    /// streaming, the blocks are computed first.
    pub(super) fn blocks<T: Send>(&self, job: impl Fn(Range<usize>, &[f32]) -> T + Sync) -> Vec<T> {
        let (n, m) = self.cost.shape();
        // Smaller blocks of stored rows, for load balance.
        let step = if self.kernel.is_some() { BLOCK / 32 / m } else { BLOCK / m }.max(1);
        let beta = target_exponents(&self.cost, &self.psi, self.epsilon);
        (0..n.div_ceil(step))
            .into_par_iter()
            .map(|k| {
                let rows = k * step..((k + 1) * step).min(n);
                match &self.kernel {
                    Some(kernel) => job(rows.clone(), &kernel[rows.start * m..rows.end * m]),
                    None => {
                        let mut block = vec![0.0; rows.len() * m];
                        exponentiate(&self.cost, self.epsilon, rows.clone(), &self.phi, &beta, &mut block);
                        job(rows, &block)
                    }
                }
            })
            .collect()
    }

    /// Returns `t_j = sum_i a_i u_i E_ij` of the last sweep.
    pub(super) fn column_sums(&mut self) -> &[f64] {
        let (first, rest) = self.shares.split_at_mut(1);
        for share in rest {
            for (sum, more) in first[0].columns.iter_mut().zip(&mut share.columns) {
                *sum += std::mem::take(more);
            }
        }
        &first[0].columns
    }
}

/// Returns `psi_j` plus the target's part of `-C / epsilon`, in single precision.
pub(super) fn target_exponents(cost: &Cost<'_>, psi: &[f64], epsilon: f64) -> Vec<f32> {
    psi.iter().enumerate().map(|(j, psi)| (psi + cost.target_offset(j, epsilon)) as f32).collect()
}

/// Writes `exp(phi_i + psi_j - C_ij / epsilon)` for some rows to `out`.
fn exponentiate(
    cost: &Cost<'_>,
    epsilon: f64,
    rows: Range<usize>,
    phi: &[f64],
    beta: &[f32],
    out: &mut [f32],
) {
    cost.exponents(rows.clone(), epsilon, out);
    for (i, row) in rows.zip(out.chunks_mut(beta.len())) {
        simd::exp_shifted(row, (phi[i] + cost.source_offset(i, epsilon)) as f32, beta);
    }
}

/// Data that all threads read in a pass.
struct PassInput<'j> {
    cost: &'j Cost<'j>,
    a: &'j [f64],
    epsilon: f64,
    phi: &'j [f64],
    w: &'j [f32],
    beta: &'j [f32],
    pass: RowPass<'j>,
    backwards: bool,
    lift: f64,
}

impl RowShare {
    /// Sweeps the rows in blocks of the kernel that are computed on the way.
    fn stream(&mut self, job: &PassInput<'_>, u: &mut [f32]) {
        let m = job.w.len();
        let step = (BLOCK / m).next_multiple_of(ROWS).max(ROWS);
        let mut block = std::mem::take(&mut self.block);
        block.resize(step.min(self.rows.len()) * m, 0.0);
        self.begin();
        for (k, u) in u.chunks_mut(step).enumerate() {
            let first = self.rows.start + k * step;
            let block = &mut block[..u.len() * m];
            exponentiate(job.cost, job.epsilon, first..first + u.len(), job.phi, job.beta, block);
            self.rows_of(job, first, u, block);
        }
        self.block = block;
    }

    /// Sweeps the rows of the stored kernel.
    fn sweep(&mut self, job: &PassInput<'_>, u: &mut [f32], kernel: &[f32]) {
        self.begin();
        self.rows_of(job, self.rows.start, u, kernel);
    }

    fn begin(&mut self) {
        self.columns.fill(0.0);
        (self.error, self.spread) = (0.0, 0.0);
    }

    /// Sweeps four rows at a time. Every other sweep runs backwards, to start with rows that are still in the
    /// cache.
    fn rows_of(&mut self, job: &PassInput<'_>, first: usize, u: &mut [f32], kernel: &[f32]) {
        let m = job.w.len();
        let groups = u.len().div_ceil(ROWS);
        for k in 0..groups {
            let group = if job.backwards { groups - 1 - k } else { k };
            let at = group * ROWS;
            let next = if job.backwards { group.wrapping_sub(1) } else { group + 1 };
            let ahead = kernel.get(next.wrapping_mul(ROWS * m)..).unwrap_or_default();
            // The last group may be short: its missing rows repeat the last row with weight zero.
            let row = |r: usize| &kernel[(at + r).min(u.len() - 1) * m..][..m];
            let rows = std::array::from_fn(row);
            let sums = simd::dots(rows, job.w);
            let live = ROWS.min(u.len() - at);
            let at_rows = first + at..first + at + live;
            let a = &job.a[at_rows.clone()];
            let u = &mut u[at..at + live];
            let mut z = [0.0; ROWS];
            match job.pass {
                RowPass::Scale(rule) => {
                    let (error, spread) = rule.update(a, &sums[..live], &job.phi[at_rows], u);
                    self.error += error;
                    self.spread = self.spread.max(spread);
                    for (z, (a, u)) in z.iter_mut().zip(a.iter().zip(u)) {
                        *z = (job.lift * a * f64::from(*u)) as f32;
                    }
                }
                RowPass::Couple(rule) => {
                    let rows = z.iter_mut().zip(a).zip(u).zip(&job.phi[at_rows]).zip(sums);
                    for ((((z, a), &mut u), phi), sum) in rows {
                        *z = (job.lift * a * rule.coupling(*phi, u) * f64::from(u).powi(2) * sum) as f32;
                    }
                }
            }
            simd::add_scaled(rows, z, &mut self.recent, &ahead[..ahead.len().min(ROWS * m)]);
            if k % (FLUSH / ROWS) == FLUSH / ROWS - 1 || k + 1 == groups {
                for (sum, recent) in self.columns.iter_mut().zip(&mut self.recent) {
                    *sum += f64::from(std::mem::take(recent)) / job.lift;
                }
            }
        }
    }
}
