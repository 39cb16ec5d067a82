//! Calls of the solvers of `chiasm transport`.

use super::{
    images::{self, Images},
    options::{self, DIRECTIONS},
    output::SolutionPlan,
    problem::TransportProblem,
};
use crate::{
    args::{TransportArgs, TransportSolver},
    progress::Terminal,
};
use chiasm_geometry::{
    Error as MeasureError,
    discrepancy::{directions, weighted_sliced_w2},
};
use chiasm_pipeline::Reporter;
use chiasm_transport::{
    DELIBERATE_STARTS, Error as SolverError, GromovPlan, GromovWasserstein, Marginals, Result as Solved,
    Sinkhorn, SolverLimits, SolverProgress, StopReason, exact, exact_partial, exact_points, low_rank,
    low_rank_gromov,
};
use ndarray::Array2;
use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

/// The share of the objective by which ten iterations of gw and fgw must lower it.
const FLAT: f64 = 1e-6;

/// The result of a solver.
pub struct TransportSolution {
    pub cost: f64,
    pub marginal_error: f64,
    /// `None` for the exact solver.
    pub iterations: Option<usize>,
    pub seconds: f64,
    pub stop: StopReason,
    pub plan: SolutionPlan,
    /// Further values that only this solver reports.
    pub more: Vec<(&'static str, f64)>,
    /// The objectives of this matching and of another one that is about as good.
    pub as_good: Option<[f64; 2]>,
    /// Bound of the relative error of the plan's entries that rounding causes.
    pub rounding: f64,
    /// The images of the points, if they were asked for.
    pub images: Option<Images>,
}

/// Solves the problem with the solver of the arguments.
pub fn solve(
    args: &TransportArgs,
    problem: &TransportProblem,
    bar: &Arc<Terminal>,
) -> Solved<TransportSolution> {
    let mut solution = match args.solver {
        TransportSolver::Emd => emd(args, problem, bar),
        TransportSolver::Sinkhorn | TransportSolver::Unbalanced | TransportSolver::Partial => {
            entropic(args, problem, bar)
        }
        TransportSolver::Gw if args.rank.is_some() => factored(args, problem, bar),
        TransportSolver::Gw | TransportSolver::Fgw => gromov(args, problem, bar),
        TransportSolver::Lowrank => factored(args, problem, bar),
        TransportSolver::Sliced => sliced(args, problem),
    }?;
    if args.images.is_some() && solution.images.is_none() {
        solution.images = Some(images::of_plan(args, problem, &solution.plan)?);
    }
    Ok(solution)
}

fn sliced(args: &TransportArgs, problem: &TransportProblem) -> Solved<TransportSolution> {
    let clock = Instant::now();
    let (x, y) = problem.clouds()?;
    if x.ncols() != y.ncols() {
        let (expected, got) = (x.ncols(), y.ncols());
        return Err(SolverError::Shape { what: "width of the target points", expected, got });
    }
    let count = args.directions.unwrap_or(DIRECTIONS);
    let axes = directions(x.ncols(), count, args.seed.unwrap_or(0));
    let distance = weighted_sliced_w2(x.view(), &problem.a, y.view(), &problem.b, axes.view());
    let distance = distance.map_err(|error| match error {
        MeasureError::Transport(error) => error,
        MeasureError::NotFinite { what: "first cloud", row } => {
            SolverError::NotFinite { what: "source points", row }
        }
        MeasureError::NotFinite { row, .. } => SolverError::NotFinite { what: "target points", row },
        _ => SolverError::Breakdown { what: "the sliced distance", why: "check the points for huge values" },
    })?;
    let mass: f64 = problem.a.iter().sum();
    Ok(TransportSolution {
        cost: mass * distance * distance,
        marginal_error: 0.0,
        iterations: None,
        seconds: clock.elapsed().as_secs_f64(),
        stop: StopReason::Converged,
        plan: SolutionPlan::Dense(Array2::zeros((0, 0))),
        more: vec![("distance", distance), ("directions", count as f64)],
        as_good: None,
        rounding: 0.0,
        images: None,
    })
}

fn emd(args: &TransportArgs, problem: &TransportProblem, bar: &Arc<Terminal>) -> Solved<TransportSolution> {
    let limits = SolverLimits::new(args.iterations.unwrap_or(usize::MAX)).time(time(args));
    let limits = limits.watch(watcher(bar, "pivots", args.iterations));
    let (a, b) = (&problem.a, &problem.b);
    let found = match (args.mass, options::exact_without_matrix(args, problem.shape)) {
        (Some(mass), _) => exact_partial(problem.dense_cost()?.view(), a, b, mass, &limits)?,
        (None, Some(distance)) => {
            let (x, y) = problem.clouds()?;
            exact_points(x.view(), y.view(), distance, a, b, &limits)?
        }
        (None, None) => exact(problem.dense_cost()?.view(), a, b, &limits)?,
    };
    let moved: f64 = found.entries.iter().map(|entry| entry.mass).sum();
    let mut more = vec![("gap", found.gap)];
    more.extend(args.mass.map(|_| ("mass", moved)));
    Ok(TransportSolution {
        cost: found.transport_cost,
        marginal_error: match args.mass {
            Some(mass) => (moved / mass - 1.0).abs(),
            None => problem.marginal_error(&found.entries),
        },
        iterations: None,
        seconds: found.seconds,
        stop: found.stop,
        plan: SolutionPlan::Exact(Box::new(found)),
        more,
        as_good: None,
        rounding: 0.0,
        images: None,
    })
}

fn entropic(
    args: &TransportArgs,
    problem: &TransportProblem,
    bar: &Arc<Terminal>,
) -> Solved<TransportSolution> {
    let most = args.iterations.unwrap_or(10_000);
    let mut solver = match args.eps {
        Some(eps) => Sinkhorn::new(eps),
        None => Sinkhorn::of_mean_cost(args.eps_scale.unwrap_or(0.05)),
    };
    solver = solver.tolerance(args.tolerance.unwrap_or(1e-6)).iterations(most).time_limit(time(args));
    solver = solver.watch(watcher(bar, "iterations", Some(most)));
    if let (Some(&source), Some(&target)) = (args.rho.first(), args.rho.last()) {
        solver = solver.marginals(Marginals::Unbalanced { source, target });
    }
    if let Some(mass) = args.mass {
        solver = solver.marginals(Marginals::Partial { mass });
    }
    let cost = problem.cost()?;
    let coupling = solver.solve(&cost, &problem.a, &problem.b)?;
    let report = coupling.report;
    let mut more = vec![("epsilon", report.epsilon)];
    if args.debias {
        let (x, y) = problem.clouds()?;
        let divergence = solver.divergence(x.view(), y.view(), &problem.a, &problem.b)?;
        more.push(("divergence", divergence.value));
    }
    let images = match args.images {
        Some(_) => Some(images::of_coupling(args, problem, &coupling, &cost)?),
        None => None,
    };
    // The plan is computed only if it is needed, since it may not fit into memory.
    let plan = match args.output {
        Some(_) => coupling.into_plan().mapv(f64::from),
        None => Array2::zeros((0, 0)),
    };
    if args.solver != TransportSolver::Sinkhorn {
        if args.solver == TransportSolver::Partial && report.mass == 0.0 {
            let why = "no mass is left in single precision: increase --eps or --eps-scale";
            return Err(chiasm_transport::Error::Breakdown { what: "partial transport", why });
        }
        more.push(("mass", report.mass));
    }
    Ok(TransportSolution {
        cost: report.transport_cost,
        marginal_error: report.marginal_error,
        iterations: Some(report.iterations),
        seconds: report.seconds,
        stop: report.stop,
        plan: SolutionPlan::Dense(plan),
        more,
        as_good: None,
        rounding: report.rounding,
        images,
    })
}

fn gromov(
    args: &TransportArgs,
    problem: &TransportProblem,
    bar: &Arc<Terminal>,
) -> Solved<TransportSolution> {
    let clock = Instant::now();
    let most = args.iterations.unwrap_or(1000);
    let mut solver =
        args.eps.map_or_else(GromovWasserstein::conditional_gradient, GromovWasserstein::entropic);
    solver = solver.tolerance(args.tolerance.unwrap_or(1e-5)).iterations(most);
    if args.tolerance.is_none() {
        solver = solver.flat_objective(FLAT);
    }
    solver = solver.starts(args.starts.unwrap_or(DELIBERATE_STARTS));
    solver = solver.watch(watcher(bar, "outer iterations", Some(most)));
    if args.solver == TransportSolver::Fgw {
        let linear = problem.linear()?.mapv(|c| c as f32);
        solver = solver.fused(linear.view(), args.alpha.unwrap_or(0.5));
    }
    let mut best: Option<(Option<usize>, GromovPlan)> = None;
    let graphs = args.geodesic.iter().copied().map(Some);
    for neighbours in graphs.chain(args.geodesic.is_empty().then_some(None)) {
        let (x, y) = problem.spaces(neighbours)?;
        let left = time(args).saturating_sub(clock.elapsed());
        let found = solver.clone().time_limit(left).solve(&x, &y, &problem.a, &problem.b)?;
        if best.as_ref().is_none_or(|(_, best)| found.unexplained() < best.unexplained()) {
            best = Some((neighbours, found));
        }
    }
    let (neighbours, found) = best.ok_or(SolverError::Empty("list of neighbours"))?;
    let mut more = vec![("unexplained", found.unexplained())];
    more.push(("objective", found.objective));
    more.extend(found.next_best.map(|next| ("next_best_objective", next)));
    more.extend(neighbours.map(|k| ("neighbours", k as f64)));
    Ok(TransportSolution {
        cost: found.value,
        marginal_error: found.marginal_error,
        iterations: Some(found.iterations),
        seconds: clock.elapsed().as_secs_f64(),
        stop: found.stop,
        plan: SolutionPlan::Dense(found.plan.mapv(f64::from)),
        more,
        as_good: found.next_best.filter(|_| found.is_ambiguous()).map(|next| [found.objective, next]),
        rounding: 0.0,
        images: None,
    })
}

fn factored(
    args: &TransportArgs,
    problem: &TransportProblem,
    bar: &Arc<Terminal>,
) -> Solved<TransportSolution> {
    let most = args.iterations.unwrap_or(200);
    let limits = SolverLimits::new(most).time(time(args)).watch(watcher(bar, "iterations", Some(most)));
    let rank = args.rank.unwrap_or(50);
    let (weights, tolerance) = ((&*problem.a, &*problem.b), args.tolerance.unwrap_or(1e-4));
    let found = if args.solver == TransportSolver::Gw {
        let (x, y) = problem.spaces(None)?;
        low_rank_gromov(&x, &y, weights, rank, tolerance, &limits)?
    } else {
        let (x, y) = problem.points()?;
        low_rank(x.view(), y.view(), weights, rank, tolerance, &limits)?
    };
    Ok(TransportSolution {
        cost: found.transport_cost,
        marginal_error: found.marginal_error,
        iterations: Some(found.iterations),
        seconds: found.seconds,
        stop: found.stop,
        more: vec![("rank", found.source.ncols() as f64)],
        as_good: None,
        rounding: 0.0,
        images: None,
        plan: SolutionPlan::Factors(Box::new(found)),
    })
}

fn time(args: &TransportArgs) -> Duration {
    Duration::try_from_secs_f64(args.time_limit).unwrap_or(Duration::MAX)
}

/// Returns a callback that updates the progress bar. `most` is the maximum number of iterations, if there is
/// one.
fn watcher(
    bar: &Arc<Terminal>,
    what: &str,
    most: Option<usize>,
) -> impl Fn(&SolverProgress) -> ControlFlow<()> + Send + Sync + 'static + use<> {
    bar.begin(what, most.unwrap_or(0) as u64);
    let bar = bar.clone();
    move |progress| {
        bar.advance(progress.iteration as u64);
        bar.status(&format!("error {:.1e}", progress.error));
        ControlFlow::Continue(())
    }
}
