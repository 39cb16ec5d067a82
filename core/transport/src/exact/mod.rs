//! Exact transport: assignment for equal uniform weights, network simplex for all others, a closed form on the line.
//!
//! Both solvers start from the duals of an annealed entropic solve, which costs a few reads of the matrix and leaves little
//! to do: the assignment's searches are short, and the simplex works on the few arcs that are nearly tight, then prices
//! all arcs and takes in those that the duals refuse, until there is none. Double precision; the duals handed back
//! certify the optimum ([`Exact::gap`]).

mod assignment;
mod line;
mod simplex;

pub use line::on_line;

use ndarray::{Array1, Array2, ArrayView2, CowArray};
use rayon::prelude::*;
use std::time::Instant;

use crate::{Cost, Error, Limits, Result, Sinkhorn, Stop, simd};
use simplex::{Arc, Simplex};

/// Mass that a plan moves: source, target, how much.
pub type Move = (usize, usize, f64);

/// An optimal plan, sparse, with the duals that prove it.
#[derive(Debug, Clone)]
pub struct Exact {
    /// The moves, at most n + m - 1 of them.
    pub moves: Vec<Move>,
    /// `<P, C>`.
    pub transport_cost: f64,
    /// Source duals f with `f_i + g_j <= C_ij`.
    pub source_potential: Array1<f64>,
    /// Target duals g.
    pub target_potential: Array1<f64>,
    /// `<P, C>` less the dual value of the feasible duals: how far from the optimum the plan can be.
    pub gap: f64,
    /// Wall time.
    pub seconds: f64,
    /// Why it stopped; only [`Stop::Converged`] is an optimum.
    pub stop: Stop,
    shape: (usize, usize),
}

impl Exact {
    /// The dense plan `P[n, m]`.
    pub fn plan(&self) -> Array2<f64> {
        let mut plan = Array2::zeros(self.shape);
        self.moves.iter().for_each(|&(i, j, mass)| plan[[i, j]] += mass);
        plan
    }
}

/// Solves `min <P, C>`, `P 1 = a`, `P^T 1 = b`, `P >= 0`, for `C[n, m]`.
///
/// `limits` count simplex pivots (or searches) and time. A plan that was cut short is still feasible, with its gap.
///
/// # Errors
/// On an empty or not finite matrix, weights that are no weights, and unequal sums of weights.
pub fn exact(cost: ArrayView2<'_, f64>, a: &[f64], b: &[f64], limits: &Limits) -> Result<Exact> {
    let clock = Instant::now();
    let shape = cost.dim();
    let entropic = Cost::matrix64(cost)?;
    let (a, b, mass) = crate::balanced(a, b, shape)?;
    let cost = cost.as_standard_layout();
    let ends: Vec<(f64, f64)> =
        cost.as_slice().unwrap_or_default().par_chunks(1 << 16).map(simd::range).collect();
    let (low, high) =
        ends.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), e| (l.min(e.0), h.max(e.1)));
    let spread = high - low;
    if !(spread * (shape.0 + shape.1) as f64).is_finite() {
        return Err(Error::Breakdown {
            what: "exact transport",
            why: "costs differ by more than double precision holds",
        });
    }
    let rows: Vec<usize> = (0..shape.0).filter(|&i| a[i] > 0.0).collect();
    let columns: Vec<usize> = (0..shape.1).filter(|&j| b[j] > 0.0).collect();
    let start = start(&entropic, &a, &b, low, limits);
    let uniform = shape.0 == shape.1 && a.iter().chain(&b).all(|w| (w * shape.0 as f64 - 1.0).abs() < 1e-12);
    let problem = Problem { cost: &cost, a: &a, b: &b, rows, columns, low, spread, clock, limits };
    let (moves, v, stop) = if uniform { problem.assign(start.1)? } else { problem.simplex(start) };
    Ok(problem.finish(moves, v, mass, stop))
}

/// Candidate arcs for each row that the simplex starts with.
const CANDIDATES: f64 = 12.0;
/// The start's regularisation over the mean cost, and its marginal error: sharp enough to leave little to do.
const START: (f64, f64) = (3e-3, 0.05);

/// Costs below which a start is not worth its time.
const SMALL: usize = 2500;

/// Duals near the optimum from a short entropic solve; zeros where that would not pay or cannot be had (equal costs).
fn start(cost: &Cost<'_>, a: &[f64], b: &[f64], low: f64, limits: &Limits) -> (Vec<f64>, Vec<f64>) {
    let zeros = || (vec![0.0; a.len()], vec![0.0; b.len()]);
    if a.len() * b.len() <= SMALL {
        return zeros();
    }
    let loose =
        Sinkhorn::new(START.0 * (cost.mean() - low)).annealing(0.25).tolerance(START.1).iterations(400);
    match loose.time_limit(limits.time / 2).solve(cost, a, b) {
        Ok(coupling) => (coupling.source_potential().to_vec(), coupling.target_potential().to_vec()),
        Err(_) => zeros(),
    }
}

struct Problem<'p> {
    cost: &'p CowArray<'p, f64, ndarray::Ix2>,
    a: &'p [f64],
    b: &'p [f64],
    /// Points with positive weight.
    rows: Vec<usize>,
    columns: Vec<usize>,
    low: f64,
    spread: f64,
    clock: Instant,
    limits: &'p Limits,
}

type Plan = (Vec<Move>, Vec<f64>, Stop);

impl Problem<'_> {
    fn row(&self, i: usize) -> &[f64] {
        let m = self.b.len();
        self.cost.as_slice().map_or(&[], |cost| &cost[i * m..(i + 1) * m])
    }

    /// What rounding may do to a reduced cost.
    fn tolerance(&self) -> f64 {
        1e-13 * (self.spread + self.low.abs()) + f64::MIN_POSITIVE
    }

    fn assign(&self, mut v: Vec<f64>) -> Result<Plan> {
        let weight = 1.0 / self.a.len() as f64;
        let timed_out = || self.clock.elapsed() > self.limits.time;
        let why = "the time limit came before it was complete: allow more, or take the entropic solver";
        let column_of = assignment::solve(self.cost.view(), &mut v, timed_out)
            .ok_or(Error::Breakdown { what: "assignment", why })?;
        let moves = column_of.into_iter().enumerate().map(|(i, j)| (i, j, weight)).collect();
        Ok((moves, v, Stop::Converged))
    }

    fn simplex(&self, start: (Vec<f64>, Vec<f64>)) -> Plan {
        let weights = |all: &[f64], kept: &[usize]| -> Vec<f64> { kept.iter().map(|&i| all[i]).collect() };
        let (a, b) = (weights(self.a, &self.rows), weights(self.b, &self.columns));
        let big = self.low.abs().max((self.low + self.spread).abs()) + self.spread;
        let mut tree = Simplex::new(&a, &b, self.candidates(&start.0, &start.1), big, self.tolerance());
        let mut pivots = 0;
        let stop = loop {
            let budget = 2000.min(self.limits.iterations.saturating_sub(pivots)).max(1);
            let done = tree.optimise(budget);
            pivots += done;
            if let Some(stop) = self.limits.stop(pivots, self.clock, f64::INFINITY, 0.0) {
                break stop;
            }
            if done == budget {
                continue;
            }
            let refused = self.refused(&tree);
            if refused.is_empty() {
                break Stop::Converged;
            }
            tree.add(refused);
        };
        let (flows, _) = tree.flows();
        let moves = flows.into_iter().map(|(i, j, flow)| (self.rows[i], self.columns[j], flow)).collect();
        let mut v = vec![f64::NEG_INFINITY; self.b.len()];
        for (k, &j) in self.columns.iter().enumerate() {
            v[j] = tree.dual[self.rows.len() + k];
        }
        (moves, v, stop)
    }

    /// The arcs nearest to tight under the duals, best first: about a dozen for each row.
    fn candidates(&self, f: &[f64], v: &[f64]) -> Vec<Arc> {
        let m = self.columns.len();
        let reduced = |i: usize| -> Vec<f64> {
            let row = self.row(i);
            self.columns.iter().map(|&j| row[j] - v[j] - f[i]).collect()
        };
        // The threshold that leaves so many of the arcs of some sampled rows leaves as many of all.
        let step = self.rows.len().div_ceil(64);
        let mut sample: Vec<f64> = self.rows.iter().step_by(step).flat_map(|&i| reduced(i)).collect();
        let keep = ((sample.len() as f64 * CANDIDATES / m as f64) as usize).min(sample.len() - 1);
        let threshold = *sample.select_nth_unstable_by(keep, f64::total_cmp).1;
        let mut arcs: Vec<(f64, Arc)> = (0..self.rows.len())
            .into_par_iter()
            .flat_map_iter(|k| {
                let row = self.row(self.rows[k]);
                let reduced = reduced(self.rows[k]);
                let near: Vec<(f64, Arc)> = reduced
                    .iter()
                    .enumerate()
                    .filter(|(_, r)| **r <= threshold)
                    .map(|(l, &r)| {
                        (r, Arc { source: k as u32, target: l as u32, cost: row[self.columns[l]] })
                    })
                    .collect();
                near
            })
            .collect();
        arcs.par_sort_by(|x, y| x.0.total_cmp(&y.0));
        arcs.into_iter().map(|(_, arc)| arc).collect()
    }

    /// Arcs that the tree's duals refuse, the worst few of each row.
    fn refused(&self, tree: &Simplex) -> Vec<Arc> {
        const WORST: usize = 4;
        let n = self.rows.len();
        let tolerance = self.tolerance();
        let mut v = vec![f64::NEG_INFINITY; self.b.len()];
        self.columns.iter().zip(&tree.dual[n..]).for_each(|(&j, dual)| v[j] = *dual);
        (0..n)
            .into_par_iter()
            .flat_map_iter(|k| {
                let (row, bound) = (self.row(self.rows[k]), tree.dual[k] - tolerance);
                let mut bad: Vec<(f64, Arc)> = Vec::new();
                if simd::min_reduced(row, &v) < bound {
                    for (l, &j) in self.columns.iter().enumerate() {
                        if row[j] - v[j] < bound {
                            bad.push((
                                row[j] - v[j],
                                Arc { source: k as u32, target: l as u32, cost: row[j] },
                            ));
                        }
                    }
                    bad.sort_by(|x, y| x.0.total_cmp(&y.0));
                    bad.truncate(WORST);
                }
                bad.into_iter().map(|(_, arc)| arc)
            })
            .collect()
    }

    /// Feasible duals, the gap they certify, and the user's mass. A column without weight has no dual (-infinity) yet.
    fn finish(&self, moves: Vec<Move>, mut v: Vec<f64>, mass: f64, stop: Stop) -> Exact {
        let u: Vec<f64> =
            (0..self.a.len()).into_par_iter().map(|i| simd::min_reduced(self.row(i), &v)).collect();
        for (j, v) in v.iter_mut().enumerate().filter(|(_, v)| **v == f64::NEG_INFINITY) {
            *v = u.iter().enumerate().map(|(i, u)| self.row(i)[j] - u).fold(f64::INFINITY, f64::min);
        }
        let primal: f64 = moves.iter().map(|&(i, j, flow)| flow * self.row(i)[j]).sum();
        let dual: f64 = self.a.iter().zip(&u).chain(self.b.iter().zip(&v)).map(|(w, d)| w * d).sum();
        Exact {
            moves: moves.into_iter().map(|(i, j, flow)| (i, j, flow * mass)).collect(),
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
