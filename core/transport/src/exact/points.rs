//! Exact transport between point clouds in memory that is linear in the number of points.
//!
//! The cost matrix is never stored. The dual potentials of a loose entropic solve, which recomputes blocks of
//! the kernel, give a few candidate arcs for each point. The network simplex solves the problem over these
//! arcs. Blocks of all costs are then computed as matrix products to price every arc, and arcs with negative
//! reduced costs join the candidates, until there are none (column generation).

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use std::time::Instant;

use super::plan::{ExactPlan, GAP, PlanEntry};
use super::simplex::{CandidateArc, NetworkSimplex};
use crate::cost::{finite, mean_row};
use crate::{Cost, Error, Result, Sinkhorn, SolverLimits, StopReason};

/// Regularisation of the entropic start as a share of the mean cost, and its tolerance.
const START: (f64, f64) = (3e-3, 0.05);

/// The distance between two points whose cost is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointDistance {
    /// `|x - y|`.
    Euclidean,
    /// `|x - y|²`.
    SquaredEuclidean,
}

/// Candidate arcs of each source and of each target at the start.
const NEAREST: [usize; 2] = [10, 5];
/// The most arcs that join the candidates for a source in one round.
const WORST: usize = 4;
/// Rows and columns of a block of costs: 1 MiB for each thread.
const BLOCK: [usize; 2] = [64, 2048];
/// Largest kernel that the entropic start stores, in bytes.
const STORED: usize = 256 << 20;
/// Iterations of the entropic start at its last regularisation where the kernel is computed anew in each.
/// More of them cost more time than they save in the simplex (measured for 10,000 points).
const RECOMPUTED: usize = 5;
/// Bound of the rounding error of a cost in a block, as a share of the largest squared norms.
const ROUNDING: f64 = 1e-13;

/// Solves `min <P, C>` subject to `P 1 = a`, `P^T 1 = b`, `P >= 0`, where `C[i, j]` is the distance of the
/// points `x[n, d]` and `y[m, d]`, without storing C.
///
/// Returns the same plan cost as [`super::exact`] on the matrix of distances, with memory for about
/// `20 (n + m)` arcs. `limits` count simplex pivots and time. A plan that was cut short is feasible, and its
/// gap bounds its error.
///
/// ```
/// use chiasm_transport::{PointDistance, SolverLimits, exact_points, uniform};
/// let x = ndarray::array![[0.0, 0.0], [1.0, 0.0]];
/// let y = ndarray::array![[1.0, 1.0], [0.0, 3.0]];
/// let (distance, limits) = (PointDistance::SquaredEuclidean, SolverLimits::new(1000));
/// let found = exact_points(x.view(), y.view(), distance, &uniform(2), &uniform(2), &limits)?;
/// assert!((found.transport_cost - 5.0).abs() < 1e-12); // (9 + 1) / 2
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When a cloud is empty or not finite, the dimensions differ, or weights are invalid or have unequal sums.
pub fn exact_points(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    distance: PointDistance,
    a: &[f64],
    b: &[f64],
    limits: &SolverLimits,
) -> Result<ExactPlan> {
    let clock = Instant::now();
    let shape = (x.nrows(), y.nrows());
    let all = PointClouds::new(x, y, distance)?;
    let (a, b, mass) = crate::balanced(a, b, shape)?;
    let with_mass = |weights: &[f64]| (0..weights.len()).filter(|&i| weights[i] > 0.0).collect::<Vec<_>>();
    let (rows, columns) = (with_mass(&a), with_mass(&b));
    let clouds = all.part(&rows, &columns);
    let weights = [rows.iter().map(|&i| a[i]).collect(), columns.iter().map(|&j| b[j]).collect()];
    let [f, v] = start(&clouds, &weights, limits)?;
    let mut tree = NetworkSimplex::new(
        &weights[0],
        &weights[1],
        &clouds.candidates(&f, &v),
        3.0 * clouds.largest(),
        clouds.tolerance(),
    );
    let stop = tree.solve(limits, clock, |dual| {
        let (u, v) = dual.split_at(rows.len());
        let slack = clouds.tolerance();
        clouds
            .scan(u, v, WORST)
            .into_iter()
            .filter(|(_, arc)| arc.cost - u[arc.source as usize] - v[arc.target as usize] < -slack)
            .map(|(_, arc)| arc)
            .collect()
    });
    let entries: Vec<PlanEntry> = (tree.flows().into_iter())
        .map(|(i, j, mass)| PlanEntry { source: rows[i], target: columns[j], mass })
        .collect();
    let mut targets = vec![f64::NEG_INFINITY; shape.1];
    columns.iter().zip(&tree.dual()[rows.len()..]).for_each(|(&j, dual)| targets[j] = *dual);
    Ok(certified(&all, [&a, &b], entries, targets, (mass, stop, clock)))
}

/// Makes the dual potentials feasible, computes the gap, and scales the plan to its mass. The potential of a
/// target without mass is -infinity on entry.
fn certified(
    clouds: &PointClouds,
    [a, b]: [&[f64]; 2],
    entries: Vec<PlanEntry>,
    mut v: Vec<f64>,
    (mass, stop, clock): (f64, StopReason, Instant),
) -> ExactPlan {
    let u = clouds.least_reduced(&v);
    if v.contains(&f64::NEG_INFINITY) {
        let least = clouds.swapped().least_reduced(&u);
        (v.iter_mut().zip(least)).filter(|(v, _)| **v == f64::NEG_INFINITY).for_each(|(v, least)| *v = least);
    }
    let primal: f64 = entries.iter().map(|entry| entry.mass * clouds.cost(entry.source, entry.target)).sum();
    let dual: f64 = a.iter().zip(&u).chain(b.iter().zip(&v)).map(|(weight, dual)| weight * dual).sum();
    // costs are not negative, so a plan without cost is optimal whatever the rounding of the potentials
    let proven = primal == 0.0 || (primal - dual).abs() <= GAP * primal;
    let stop = if stop == StopReason::Converged && !proven { StopReason::Stalled } else { stop };
    let scaled = |entry: PlanEntry| PlanEntry { mass: entry.mass * mass, ..entry };
    ExactPlan {
        entries: entries.into_iter().map(scaled).collect(),
        transport_cost: primal * mass,
        source_potential: Array1::from(u),
        target_potential: Array1::from(v),
        gap: (primal - dual) * mass,
        seconds: clock.elapsed().as_secs_f64(),
        stop,
        shape: (a.len(), b.len()),
    }
}

/// Dual potentials near the optimum, from a loose entropic solve; zeros where it fails (equal points).
fn start(clouds: &PointClouds, weights: &[Vec<f64>; 2], limits: &SolverLimits) -> Result<[Vec<f64>; 2]> {
    let single = |points: &Array2<f64>| points.mapv(|v| v as f32);
    let (x, y) = (single(&clouds.x), single(&clouds.y));
    let make = |x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>| match clouds.distance {
        PointDistance::Euclidean => Cost::euclidean(x, y),
        PointDistance::SquaredEuclidean => Cost::squared_euclidean(x, y),
    };
    let cost = make(x.view(), y.view())?;
    let loose = Sinkhorn::new(START.0 * cost.mean()).annealing(0.25).tolerance(START.1).iterations(400);
    let loose = loose.memory(STORED).time_limit(limits.time / 2);
    let loose = loose.coarse_start(x.view(), y.view(), make).unwrap_or(loose);
    let stored = x.nrows().saturating_mul(y.nrows()) <= STORED / size_of::<f32>();
    let loose = if stored { loose } else { loose.iterations(RECOMPUTED) };
    Ok(match loose.solve(&cost, &weights[0], &weights[1]) {
        Ok(coupling) => [coupling.source_potential().to_vec(), coupling.target_potential().to_vec()],
        Err(_) => [vec![0.0; x.nrows()], vec![0.0; y.nrows()]],
    })
}

/// Two clouds around their common mean, with the squared norms of their points.
struct PointClouds {
    x: Array2<f64>,
    y: Array2<f64>,
    p: Vec<f64>,
    q: Vec<f64>,
    distance: PointDistance,
}

impl PointClouds {
    fn new(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>, distance: PointDistance) -> Result<Self> {
        crate::same("dimension of the target points", x.ncols(), y.ncols())?;
        finite("source points", x, f64::is_finite)?;
        finite("target points", y, f64::is_finite)?;
        let centre = (Array1::from(mean_row(x)) + Array1::from(mean_row(y))) / 2.0;
        let clouds = Self::of(&x - &centre, &y - &centre, distance);
        if !(clouds.largest() * (x.nrows() + y.nrows()) as f64).is_finite() {
            let why = "they leave the range of double precision: rescale the points";
            return Err(Error::Breakdown { what: "computing distances of points", why });
        }
        Ok(clouds)
    }

    fn of(x: Array2<f64>, y: Array2<f64>, distance: PointDistance) -> Self {
        let norms = |points: &Array2<f64>| points.rows().into_iter().map(|row| row.dot(&row)).collect();
        let (p, q) = (norms(&x), norms(&y));
        Self { x, y, p, q, distance }
    }

    /// The clouds of some of the points.
    fn part(&self, rows: &[usize], columns: &[usize]) -> Self {
        Self::of(self.x.select(Axis(0), rows), self.y.select(Axis(0), columns), self.distance)
    }

    fn swapped(&self) -> Self {
        Self::of(self.y.clone(), self.x.clone(), self.distance)
    }

    /// The cost of an arc, from the differences of the coordinates.
    fn cost(&self, i: usize, j: usize) -> f64 {
        let square: f64 = self.x.row(i).iter().zip(self.y.row(j)).map(|(x, y)| (x - y) * (x - y)).sum();
        self.of_square(square)
    }

    fn of_square(&self, square: f64) -> f64 {
        match self.distance {
            PointDistance::Euclidean => square.max(0.0).sqrt(),
            PointDistance::SquaredEuclidean => square,
        }
    }

    /// An upper bound of all costs.
    fn largest(&self) -> f64 {
        let most = |norms: &[f64]| norms.iter().fold(0.0_f64, |most, &norm| most.max(norm));
        self.of_square((most(&self.p).sqrt() + most(&self.q).sqrt()).powi(2))
    }

    /// Bound of the rounding error of a reduced cost.
    fn tolerance(&self) -> f64 {
        ROUNDING * self.largest() + f64::MIN_POSITIVE
    }

    /// The arcs with small reduced costs under these potentials, best first.
    fn candidates(&self, u: &[f64], v: &[f64]) -> Vec<CandidateArc> {
        // the potentials are near the optimum only, so that an offset of a row must not hide its arcs
        let open = vec![f64::INFINITY; u.len()];
        let mut arcs = self.scan(&open, v, NEAREST[0]);
        let open = vec![f64::INFINITY; v.len()];
        let turned = self.swapped().scan(&open, u, NEAREST[1]);
        arcs.extend(turned.into_iter().map(|(reduced, arc)| {
            (reduced, CandidateArc { source: arc.target, target: arc.source, cost: arc.cost })
        }));
        for (reduced, arc) in &mut arcs {
            *reduced = arc.cost - u[arc.source as usize] - v[arc.target as usize];
        }
        arcs.par_sort_by(|one, two| {
            let key = |(reduced, arc): &(f64, CandidateArc)| (*reduced, arc.source, arc.target);
            let ((a, i, j), (b, k, l)) = (key(one), key(two));
            a.total_cmp(&b).then((i, j).cmp(&(k, l)))
        });
        arcs.dedup_by_key(|(_, arc)| (arc.source, arc.target));
        arcs.into_iter().map(|(_, arc)| arc).collect()
    }

    /// For each source, the arcs with the smallest `C_ij - v_j` below `bound_i`, at most `keep`, each with
    /// that value. Costs of the arcs are exact; the values have the rounding error of a block.
    fn scan(&self, bound: &[f64], v: &[f64], keep: usize) -> Vec<(f64, CandidateArc)> {
        let rows: Vec<Vec<(f64, CandidateArc)>> = self.by_row(v, |i, from, reduced, best: &mut Vec<_>| {
            let limit = |best: &[(f64, CandidateArc)]| {
                if best.len() < keep { bound[i] } else { bound[i].min(best[keep - 1].0) }
            };
            if least(reduced) >= limit(best) {
                return;
            }
            for (k, &value) in reduced.iter().enumerate() {
                if value < limit(best) {
                    let at = best.partition_point(|(other, _)| *other <= value);
                    let arc = CandidateArc { source: i as u32, target: (from + k) as u32, cost: 0.0 };
                    best.insert(at, (value, arc));
                    best.truncate(keep);
                }
            }
        });
        let mut arcs: Vec<(f64, CandidateArc)> = rows.into_iter().flatten().collect();
        arcs.par_iter_mut()
            .for_each(|(_, arc)| arc.cost = self.cost(arc.source as usize, arc.target as usize));
        arcs
    }

    /// For each source, the smallest `C_ij - v_j` over targets with a finite potential.
    fn least_reduced(&self, v: &[f64]) -> Vec<f64> {
        let rows = self.by_row(v, |_, _, reduced, found: &mut Vec<f64>| {
            let value = least(reduced);
            let so_far = found.pop().unwrap_or(f64::INFINITY);
            found.push(so_far.min(value));
        });
        rows.into_iter().map(|found| found.first().copied().unwrap_or(f64::INFINITY)).collect()
    }

    /// Calls `visit(i, from, reduced, state)` with parts of every row of `C_ij - v_j`, the targets starting
    /// at `from`, and returns the state of each row. A target of potential -infinity has the value infinity.
    fn by_row<S: Default + Send>(
        &self,
        v: &[f64],
        visit: impl Fn(usize, usize, &mut [f64], &mut S) + Sync,
    ) -> Vec<S> {
        let (d, [height, width]) = (self.x.ncols(), BLOCK);
        let (x, y) = (self.x.as_standard_layout(), self.y.as_standard_layout());
        let (x, y) = (x.as_slice().unwrap_or_default(), y.as_slice().unwrap_or_default());
        let mut states: Vec<S> = self.p.iter().map(|_| S::default()).collect();
        states.par_chunks_mut(height).enumerate().for_each(|(block, states)| {
            let rows = states.len();
            let first = block * height;
            let left = MatRef::from_row_major_slice(&x[first * d..(first + rows) * d], rows, d);
            let mut products = vec![0.0; rows * width];
            for from in (0..self.q.len()).step_by(width) {
                let columns = width.min(self.q.len() - from);
                let part = &mut products[..rows * columns];
                let right = MatRef::from_row_major_slice(&y[from * d..(from + columns) * d], columns, d);
                let out = MatMut::from_row_major_slice_mut(part, rows, columns);
                matmul(out, Accum::Replace, left, right.transpose(), -2.0, Par::Seq);
                let (q, v) = (&self.q[from..from + columns], &v[from..from + columns]);
                for ((k, row), state) in part.chunks_mut(columns).enumerate().zip(states.iter_mut()) {
                    let p = self.p[first + k];
                    match self.distance {
                        PointDistance::SquaredEuclidean => {
                            for ((value, q), v) in row.iter_mut().zip(q).zip(v) {
                                *value = *value + p + q - v;
                            }
                        }
                        PointDistance::Euclidean => {
                            for ((value, q), v) in row.iter_mut().zip(q).zip(v) {
                                *value = (*value + p + q).max(0.0).sqrt() - v;
                            }
                        }
                    }
                    visit(first + k, from, row, state);
                }
            }
        });
        states
    }
}

/// The smallest value, in independent lanes so that the loop vectorises.
fn least(values: &[f64]) -> f64 {
    let (lanes, rest) = values.as_chunks::<8>();
    let mut least = [f64::INFINITY; 8];
    for lane in lanes {
        least
            .iter_mut()
            .zip(lane)
            .for_each(|(least, &value)| *least = if value < *least { value } else { *least });
    }
    least.iter().chain(rest).copied().fold(f64::INFINITY, f64::min)
}
