//! Exact transport: linear assignment for uniform weights, network simplex for general weights, a closed form
//! on the line.
//!
//! Both solvers start from the dual potentials of a short annealed entropic solve. From there the
//! assignment's searches are short, and the simplex works on a few candidate arcs with small reduced costs.
//! It then prices all arcs and adds those with negative reduced costs, until there are none. Double
//! precision. The dual potentials of the result prove how close to the optimum it is ([`ExactPlan::gap`]).
//! Costs like those of points on the line are recognised, and then both start from the plan in order.
//!
//! An infinite cost forbids an entry. Finite costs that are a million times above all others, such as 1e12
//! among costs below 100, are avoided likewise where a plan can avoid them.

mod assignment;
mod forbidden;
mod line;
mod monge;
mod partial;
mod plan;
mod points;
mod problem;
mod simplex;

pub(crate) use line::in_order;
pub use line::on_line;
pub use partial::exact_partial;
pub use plan::{ExactPlan, PlanEntry};
pub use points::{PointDistance, exact_points};

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;
use std::time::Instant;

use crate::{Cost, Error, Result, Sinkhorn, SolverLimits, StopReason, cost::finite, simd, tasks::ONE_TASK};
use problem::ExactProblem;

/// Solves `min <P, C>` subject to `P 1 = a`, `P^T 1 = b`, `P >= 0`, for the cost matrix `C[n, m]`.
///
/// `limits` count simplex pivots and time; the assignment solver obeys the time limit only. A plan that was
/// cut short is feasible, and its gap bounds its error.
///
/// ```
/// use chiasm_transport::{SolverLimits, exact};
/// let cost = ndarray::array![[1.0, 3.0], [3.0, 1.0]];
/// let found = exact(cost.view(), &[0.7, 0.3], &[0.5, 0.5], &SolverLimits::new(1000))?;
/// assert!((found.transport_cost - 1.4).abs() < 1e-12 && found.gap.abs() < 1e-12);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// An infinite cost forbids an entry:
///
/// ```
/// # use chiasm_transport::{SolverLimits, exact, uniform};
/// let cost = ndarray::array![[1.0, f64::INFINITY], [0.0, 1.0]];
/// let found = exact(cost.view(), &uniform(2), &uniform(2), &SolverLimits::new(1000))?;
/// assert_eq!(found.transport_cost, 1.0);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// # Errors
/// When the matrix is empty or holds NaN or -infinity, or weights are invalid or have unequal sums; when no
/// plan avoids the infinite costs; when the time limit stops the assignment solver, which has no partial
/// result.
pub fn exact(cost: ArrayView2<'_, f64>, a: &[f64], b: &[f64], limits: &SolverLimits) -> Result<ExactPlan> {
    finite("cost matrix", cost, |c: f64| c > f64::NEG_INFINITY)?;
    crate::mass("source weights", a, cost.nrows())?;
    crate::mass("target weights", b, cost.ncols())?;
    let sizes = forbidden::Magnitudes::of(cost);
    for finite_too in [true, false] {
        let Some(lowered) = forbidden::lowered(cost, &sizes, finite_too) else { continue };
        let mut found = solve(lowered.costs.view(), a, b, limits, Start::Costs(Some(lowered.mean)))?;
        let forbids = |entry: &PlanEntry| lowered.forbids(entry.source, entry.target);
        let used: f64 = found.entries.iter().filter(|entry| forbids(entry)).map(|entry| entry.mass).sum();
        if used <= NEGLIGIBLE * a.iter().sum::<f64>() {
            if used > 0.0 {
                found.entries.retain(|entry| !forbids(entry));
                let cost = |entry: &PlanEntry| entry.mass * cost[[entry.source, entry.target]];
                found.transport_cost = found.entries.iter().map(cost).sum();
            }
            return Ok(found);
        }
        if !matches!(found.stop, StopReason::Converged | StopReason::Stalled) && lowered.infinite {
            let why = "a limit was reached before it found a plan without forbidden entries: raise the limit";
            return Err(Error::Breakdown { what: "exact transport", why });
        }
    }
    if sizes.infinite {
        let why = "no plan avoids the forbidden entries (infinite costs): allow more entries, or \
                   move less mass (exact_partial; --mass)";
        return Err(Error::Breakdown { what: "exact transport", why });
    }
    solve(cost, a, b, limits, Start::Costs(None))
}

/// What a solver starts from.
pub(crate) enum Start<'s> {
    /// The costs, with the mean of those that matter; without it, that of all.
    Costs(Option<f64>),
    /// The plan of a problem with the same weights and similar costs.
    Plan(&'s ExactPlan),
    /// The entries of [`in_order`].
    InOrder(&'s [PlanEntry]),
}

/// Solves a problem with finite costs, of which none is forbidden.
pub(crate) fn solve(
    cost: ArrayView2<'_, f64>,
    a: &[f64],
    b: &[f64],
    limits: &SolverLimits,
    start: Start<'_>,
) -> Result<ExactPlan> {
    let clock = Instant::now();
    let shape = cost.dim();
    let (a, b, mass) = crate::balanced(a, b, shape)?;
    let cost = cost.as_standard_layout();
    let costs = cost.as_slice().unwrap_or_default();
    let ends: Vec<(f64, f64)> = match costs.len() {
        ..=ONE_TASK => vec![simd::range(costs)],
        _ => costs.par_chunks(2 * ONE_TASK).map(simd::range).collect(),
    };
    let (low, high) =
        ends.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), e| (l.min(e.0), h.max(e.1)));
    let spread = high - low;
    if !(spread * (shape.0 + shape.1) as f64).is_finite() {
        return Err(Error::Breakdown {
            what: "exact transport",
            why: "the range of the costs exceeds double precision: rescale the cost matrix",
        });
    }
    let rows: Vec<usize> = (0..shape.0).filter(|&i| a[i] > 0.0).collect();
    let columns: Vec<usize> = (0..shape.1).filter(|&j| b[j] > 0.0).collect();
    let uniform = is_assignment(&a, &b);
    let on_line = match start {
        Start::Costs(_) if costs.len() > SMALL => monge::coordinates(cost.view(), spread),
        _ => None,
    };
    let ordered = on_line.map(|[x, y]| in_order(&x, &y, &a, &b));
    let start = ordered.as_deref().map_or(start, Start::InOrder);
    let (potentials, known) = match start {
        Start::Plan(plan) => {
            ((plan.source_potential.to_vec(), plan.target_potential.to_vec()), plan.entries.as_slice())
        }
        Start::InOrder(entries) => (line::potentials(entries, cost.view()), entries),
        Start::Costs(mean) => {
            let entropic = if uniform { before_assignment } else { before_simplex };
            let entropic = |epsilon| entropic(epsilon).time_limit(limits.time / 2);
            (potentials(cost.view(), [&a, &b], (mean, low), entropic)?, [].as_slice())
        }
    };
    let problem = ExactProblem { cost: &cost, a: &a, b: &b, rows, columns, low, spread, clock, limits };
    let (entries, v, stop) =
        if uniform { problem.assign(potentials.1)? } else { problem.simplex(potentials, known) };
    Ok(problem.finish(entries, v, mass, stop))
}

/// Returns whether transport between these weights, whose sums are one, is linear assignment.
pub(crate) fn is_assignment(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().chain(b).all(|w| (w * a.len() as f64 - 1.0).abs() < 1e-12)
}

/// Mass on forbidden entries, as a share of all, that is a rounding error of the weights and is left out.
const NEGLIGIBLE: f64 = 1e-7;
/// The least and the largest regularisation of the entropic start, as shares of the mean cost.
const START_SHARES: (f64, f64) = (3e-3, 2e-2);
/// Between these shares the regularisation is this part of the distance of a row's tenth smallest cost from
/// the smallest: with a larger one the plan would spread over more arcs than the optimum chooses among.
const START_PART: f64 = 0.2;
const NEAR: usize = 10;
/// Problems with at most this many costs start from the least costs of their rows and columns.
const SMALL: usize = 500;

/// Returns the entropic solver whose potentials linear assignment starts from: it searches a path for each
/// source that they do not assign.
fn before_assignment(epsilon: f64) -> Sinkhorn {
    Sinkhorn::new(epsilon).annealing(0.25).tolerance(0.05).iterations(400)
}

/// Returns the entropic solver for the network simplex, which chooses candidate arcs by its potentials. At
/// this tolerance Newton steps cost more than the pivots that they save.
fn before_simplex(epsilon: f64) -> Sinkhorn {
    before_assignment(epsilon).iterations(60).accelerated(false)
}

/// Returns dual potentials near the optimum from a short entropic solve. `mean` is the mean cost, where it is
/// known, and `low` the smallest. Returns those of the least costs for small problems and where the
/// entropic solve fails (equal costs).
fn potentials(
    costs: ArrayView2<'_, f64>,
    [a, b]: [&[f64]; 2],
    (mean, low): (Option<f64>, f64),
    entropic: impl Fn(f64) -> Sinkhorn,
) -> Result<(Vec<f64>, Vec<f64>)> {
    if costs.len() <= SMALL {
        return Ok(from_least_costs(costs));
    }
    let cost = Cost::matrix64(costs)?;
    // The mean of equal costs may be rounded below the smallest.
    let mean = (mean.unwrap_or_else(|| cost.mean()) - low).max(0.0);
    let [least, most] = [START_SHARES.0, START_SHARES.1].map(|share| share * mean);
    let epsilon = (START_PART * nearness(costs)).max(least).min(most);
    Ok(match entropic(epsilon).solve(&cost, a, b) {
        Ok(coupling) => (coupling.source_potential().to_vec(), coupling.target_potential().to_vec()),
        Err(_) => from_least_costs(costs),
    })
}

/// Returns the potentials `g_j = min_i C_ij` and `f_i = min_j (C_ij - g_j)`.
fn from_least_costs(costs: ArrayView2<'_, f64>) -> (Vec<f64>, Vec<f64>) {
    let mut v = vec![f64::INFINITY; costs.ncols()];
    for row in costs.rows() {
        v.iter_mut().zip(row).for_each(|(v, c)| *v = v.min(*c));
    }
    let of_row = |row: ArrayView1<'_, f64>| row.iter().zip(&v).fold(f64::INFINITY, |f, (c, v)| f.min(c - v));
    (costs.rows().into_iter().map(of_row).collect(), v)
}

/// The mean distance of the tenth smallest cost of a row from its smallest, over some 64 rows.
fn nearness(costs: ArrayView2<'_, f64>) -> f64 {
    let place = NEAR.min(costs.ncols()) - 1;
    let of_row = |row: ArrayView1<'_, f64>| {
        let mut costs = row.to_vec();
        let (below, tenth, _) = costs.select_nth_unstable_by(place, f64::total_cmp);
        let smallest = below.iter().copied().fold(*tenth, f64::min);
        *tenth - smallest
    };
    let rows = costs.rows().into_iter().step_by(costs.nrows().div_ceil(64));
    let distances: Vec<f64> = rows.map(of_row).collect();
    distances.iter().sum::<f64>() / distances.len() as f64
}
