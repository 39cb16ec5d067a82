//! A checked exact problem with finite costs: what its solvers start from, and the plan that they prove.

use ndarray::CowArray;
use rayon::prelude::*;
use std::time::Instant;

use super::assignment;
use super::plan::{ExactPlan, GAP, PlanEntry};
use super::simplex::{CandidateArc, NetworkSimplex};
use crate::{Error, Result, SolverLimits, StopReason, simd, tasks::ONE_TASK};

/// Candidate arcs at the start of the simplex, per point of both sides' average number.
const CANDIDATES: f64 = 12.0;

/// A checked exact problem with normalised weights.
pub(super) struct ExactProblem<'p> {
    pub cost: &'p CowArray<'p, f64, ndarray::Ix2>,
    pub a: &'p [f64],
    pub b: &'p [f64],
    /// Source points with positive weight.
    pub rows: Vec<usize>,
    /// Target points with positive weight.
    pub columns: Vec<usize>,
    pub low: f64,
    pub spread: f64,
    pub clock: Instant,
    pub limits: &'p SolverLimits,
}

/// Entries of the plan, dual potential of the target, and why the solver stopped.
type ExactSolution = (Vec<PlanEntry>, Vec<f64>, StopReason);

impl ExactProblem<'_> {
    fn row(&self, i: usize) -> &[f64] {
        let m = self.b.len();
        self.cost.as_slice().map_or(&[], |cost| &cost[i * m..(i + 1) * m])
    }

    /// Rows that one task processes: starting tasks would cost more than fewer costs take.
    fn rows_per_task(&self) -> usize {
        ONE_TASK / self.b.len() + 1
    }

    /// Bound of the rounding error of a reduced cost.
    fn tolerance(&self) -> f64 {
        1e-13 * (self.spread + self.low.abs()) + f64::MIN_POSITIVE
    }

    pub fn assign(&self, mut v: Vec<f64>) -> Result<ExactSolution> {
        let weight = 1.0 / self.a.len() as f64;
        let timed_out = || self.clock.elapsed() > self.limits.time;
        let why = "the time limit stopped it before it was complete: raise the limit, or use Sinkhorn";
        let column_of = assignment::solve(self.cost.view(), &mut v, timed_out)
            .ok_or(Error::Breakdown { what: "the assignment solver", why })?;
        let entry = |(source, target)| PlanEntry { source, target, mass: weight };
        Ok((column_of.into_iter().enumerate().map(entry).collect(), v, StopReason::Converged))
    }

    /// Solves from potentials and from the entries of a known plan, which are filled first.
    pub fn simplex(&self, (f, v): (Vec<f64>, Vec<f64>), known: &[PlanEntry]) -> ExactSolution {
        let weights = |all: &[f64], kept: &[usize]| -> Vec<f64> { kept.iter().map(|&i| all[i]).collect() };
        let (a, b) = (weights(self.a, &self.rows), weights(self.b, &self.columns));
        let big = self.low.abs().max((self.low + self.spread).abs()) + self.spread;
        let arcs = if known.is_empty() { self.candidates(&f, &v) } else { self.known_arcs(known) };
        let mut tree = NetworkSimplex::new(&a, &b, &arcs, big, self.tolerance());
        let stop = tree.solve(self.limits, self.clock, |dual| self.violated(dual));
        let entry = |(i, j, mass): (usize, usize, f64)| PlanEntry {
            source: self.rows[i],
            target: self.columns[j],
            mass,
        };
        let entries = tree.flows().into_iter().map(entry).collect();
        (entries, self.spread_out(&tree.dual()), stop)
    }

    /// Returns the arcs of a known plan so that filling them greedily gives the plan again: each has an end
    /// at which it is the last one left.
    fn known_arcs(&self, known: &[PlanEntry]) -> Vec<CandidateArc> {
        let place = |kept: &[usize], size: usize| {
            let mut places = vec![0; size];
            kept.iter().enumerate().for_each(|(k, &i)| places[i] = k);
            places
        };
        let n = self.rows.len();
        let (rows, columns) = (place(&self.rows, self.a.len()), place(&self.columns, self.b.len()));
        let ends: Vec<[usize; 2]> =
            known.iter().map(|entry| [rows[entry.source], n + columns[entry.target]]).collect();
        let mut at: Vec<Vec<usize>> = vec![Vec::new(); n + self.columns.len()];
        ends.iter().enumerate().for_each(|(k, ends)| ends.iter().for_each(|&x| at[x].push(k)));
        let mut left: Vec<usize> = at.iter().map(Vec::len).collect();
        let mut leaves: Vec<usize> = (0..left.len()).filter(|&x| left[x] == 1).collect();
        let (mut taken, mut arcs) = (vec![false; known.len()], Vec::with_capacity(known.len()));
        while let Some(leaf) = leaves.pop() {
            let Some(&k) = at[leaf].iter().find(|&&k| !taken[k]) else { continue };
            taken[k] = true;
            let entry = &known[k];
            arcs.push(CandidateArc {
                source: ends[k][0] as u32,
                target: (ends[k][1] - n) as u32,
                cost: self.row(entry.source)[entry.target],
            });
            for x in ends[k] {
                left[x] -= 1;
                if left[x] == 1 {
                    leaves.push(x);
                }
            }
        }
        arcs
    }

    /// Returns the arcs with the smallest reduced costs in ascending order, [`CANDIDATES`] per point.
    fn candidates(&self, f: &[f64], v: &[f64]) -> Vec<CandidateArc> {
        let m = self.columns.len();
        let reduced = |i: usize| -> Vec<f64> {
            let row = self.row(i);
            self.columns.iter().map(|&j| row[j] - v[j] - f[i]).collect()
        };
        // A threshold that keeps this share of the arcs of sampled rows keeps about the same share of all
        // arcs.
        let step = self.rows.len().div_ceil(64);
        let mut sample: Vec<f64> = self.rows.iter().step_by(step).flat_map(|&i| reduced(i)).collect();
        let share = CANDIDATES * (0.5 / m as f64 + 0.5 / self.rows.len() as f64);
        let keep = ((sample.len() as f64 * share) as usize).min(sample.len() - 1);
        let threshold = *sample.select_nth_unstable_by(keep, f64::total_cmp).1;
        let mut arcs: Vec<(f64, CandidateArc)> = (0..self.rows.len())
            .into_par_iter()
            .with_min_len(self.rows_per_task())
            .flat_map_iter(|k| {
                let row = self.row(self.rows[k]);
                let reduced = reduced(self.rows[k]);
                let near: Vec<(f64, CandidateArc)> = reduced
                    .iter()
                    .enumerate()
                    .filter(|(_, r)| **r <= threshold)
                    .map(|(l, &r)| {
                        (r, CandidateArc { source: k as u32, target: l as u32, cost: row[self.columns[l]] })
                    })
                    .collect();
                near
            })
            .collect();
        let by_cost = |x: &(f64, CandidateArc), y: &(f64, CandidateArc)| x.0.total_cmp(&y.0);
        if arcs.len() <= ONE_TASK {
            arcs.sort_by(by_cost)
        } else {
            arcs.par_sort_by(by_cost)
        }
        arcs.into_iter().map(|(_, arc)| arc).collect()
    }

    /// Returns the potentials of all targets from those of the sources and targets with weight; those of the
    /// others are -infinity.
    fn spread_out(&self, dual: &[f64]) -> Vec<f64> {
        let mut v = vec![f64::NEG_INFINITY; self.b.len()];
        self.columns.iter().zip(&dual[self.rows.len()..]).for_each(|(&j, dual)| v[j] = *dual);
        v
    }

    /// Returns arcs with negative reduced costs under these dual potentials, the worst few of each row.
    fn violated(&self, dual: &[f64]) -> Vec<CandidateArc> {
        const WORST: usize = 4;
        let n = self.rows.len();
        let tolerance = self.tolerance();
        let v = self.spread_out(dual);
        (0..n)
            .into_par_iter()
            .with_min_len(self.rows_per_task())
            .flat_map_iter(|k| {
                let (row, bound) = (self.row(self.rows[k]), dual[k] - tolerance);
                let mut bad: Vec<(f64, CandidateArc)> = Vec::new();
                if simd::min_reduced(row, &v) < bound {
                    for (l, &j) in self.columns.iter().enumerate() {
                        if row[j] - v[j] < bound {
                            bad.push((
                                row[j] - v[j],
                                CandidateArc { source: k as u32, target: l as u32, cost: row[j] },
                            ));
                        }
                    }
                    if bad.len() > WORST {
                        bad.select_nth_unstable_by(WORST, |x, y| x.0.total_cmp(&y.0));
                        bad.truncate(WORST);
                    }
                    bad.sort_by(|x, y| x.0.total_cmp(&y.0));
                }
                bad.into_iter().map(|(_, arc)| arc)
            })
            .collect()
    }

    /// Makes the dual potentials feasible, computes the gap, and scales the plan to the original mass. `v` is
    /// -infinity for columns without weight.
    pub fn finish(&self, entries: Vec<PlanEntry>, mut v: Vec<f64>, mass: f64, stop: StopReason) -> ExactPlan {
        // A mean of zero keeps the potentials, and with them the rounding error of the gap, as small as the
        // costs are.
        let with_weight = |(b, v): (&f64, &f64)| if *b > 0.0 { b * v } else { 0.0 };
        let mean: f64 = self.b.iter().zip(&v).map(with_weight).sum();
        v.iter_mut().for_each(|v| *v -= mean);
        let rows = (0..self.a.len()).into_par_iter().with_min_len(self.rows_per_task());
        let mut u: Vec<f64> = rows.map(|i| simd::min_reduced(self.row(i), &v)).collect();
        for (j, v) in v.iter_mut().enumerate().filter(|(_, v)| **v == f64::NEG_INFINITY) {
            *v = u.iter().enumerate().map(|(i, u)| self.row(i)[j] - u).fold(f64::INFINITY, f64::min);
        }
        let primal: f64 = entries.iter().map(|entry| entry.mass * self.row(entry.source)[entry.target]).sum();
        let size: f64 =
            entries.iter().map(|entry| entry.mass * self.row(entry.source)[entry.target].abs()).sum();
        let dual: f64 = self.a.iter().zip(&u).chain(self.b.iter().zip(&v)).map(|(w, d)| w * d).sum();
        let (mut dual, least) = (dual, primal <= self.low);
        if least {
            // All mass moves at the smallest cost, which constant potentials prove without rounding.
            (u, v) = (vec![self.low; u.len()], vec![0.0; v.len()]);
            dual = primal;
        }
        let proven = (primal - dual).abs() <= GAP * size;
        let stop = if stop == StopReason::Converged && !proven { StopReason::Stalled } else { stop };
        ExactPlan {
            entries: entries
                .into_iter()
                .map(|entry| PlanEntry { mass: entry.mass * mass, ..entry })
                .collect(),
            transport_cost: primal * mass,
            source_potential: u.into(),
            target_potential: v.into(),
            gap: (primal - dual) * mass,
            seconds: self.clock.elapsed().as_secs_f64(),
            stop,
            shape: self.cost.dim(),
        }
    }
}
