//! `chiasm transport`: solves an optimal transport problem given as files, and prints or writes the result.
//!
//! All solvers report `cost`, which is `<P, C>` without the entropy (for gw and fgw, the objective at the
//! plan), and `marginal_error`, the L1 distance of the plan's marginals from the weights. If a limit is
//! reached before the tolerance, the current plan is returned with a warning. Invalid input is an error.

mod explained;
mod memory;
mod options;
mod output;
mod problem;

use crate::{
    args::{GlobalOptions, TransportArgs, TransportSolver},
    command_result::{CommandResult, check_unused_options, json},
    output_file, print,
    progress::Terminal,
};
use chiasm_geometry::{
    Error as MeasureError,
    discrepancy::{directions, weighted_sliced_w2},
};
use chiasm_pipeline::{Reporter, available_memory};
use chiasm_transport::{
    DELIBERATE_STARTS, Error as SolverError, GromovPlan, GromovWasserstein, Marginals, Result as Solved,
    Sinkhorn, SolverLimits, SolverProgress, StopReason, exact, exact_partial, exact_points, low_rank,
    low_rank_gromov,
};
pub use explained::REPORTED;
use explained::definition;
use ndarray::Array2;
use options::DIRECTIONS;
use output::SolutionPlan;
use problem::TransportProblem;
use serde_json::{Value, json as object};
use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

/// The share of the objective by which ten iterations of gw and fgw must lower it.
const FLAT: f64 = 1e-6;

/// Runs `chiasm transport`.
pub fn transport(args: &TransportArgs, global: &GlobalOptions) -> CommandResult {
    check_unused_options("transport", global)?;
    options::check(args)?;
    if let Some(threads) = global.threads {
        // Fails only if a thread pool exists already; its size is kept then.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    let problem = TransportProblem::read(args)?;
    if let Some(path) = &args.output {
        output_file::check(path, problem.files.iter().flatten())?;
    }
    memory::check(args, problem.shape, problem.width(), available_memory())?;
    let bar = Arc::new(Terminal::new(global.quiet));
    let solution = solve(args, &problem, &bar).map_err(|e| problem.error(&e));
    bar.end();
    let solution = solution?;
    if let Some(path) = &args.output {
        output::write(&solution.plan, path)?;
    }
    warn(&solution, global);
    let mut report = solution.report(args, problem.shape);
    if json(global) {
        let keys = report.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let definitions: serde_json::Map<String, Value> =
            keys.filter_map(|key| Some((key.to_owned(), object!(definition(key)?)))).collect();
        report["definitions"] = definitions.into();
        print::json(&report);
        return Ok(());
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows = report.as_object().into_iter().flatten().map(|(key, v)| vec![key.clone(), text(v)]).collect();
    print::table(&["transport", ""], rows, 1);
    Ok(())
}

/// The result of a solver.
struct TransportSolution {
    cost: f64,
    marginal_error: f64,
    /// `None` for the exact solver.
    iterations: Option<usize>,
    seconds: f64,
    stop: StopReason,
    plan: SolutionPlan,
    /// Further values that only this solver reports.
    more: Vec<(&'static str, f64)>,
    /// The objective of another matching that is about as good.
    as_good: Option<f64>,
    /// Bound of the relative error of the plan's entries that rounding causes.
    rounding: f64,
}

/// The rounding error of a plan's entries from which a warning is printed.
const FEW_DIGITS: f64 = 1e-3;

fn solve(args: &TransportArgs, problem: &TransportProblem, bar: &Arc<Terminal>) -> Solved<TransportSolution> {
    match args.solver {
        TransportSolver::Emd => emd(args, problem, bar),
        TransportSolver::Sinkhorn | TransportSolver::Unbalanced | TransportSolver::Partial => {
            entropic(args, problem, bar)
        }
        TransportSolver::Gw if args.rank.is_some() => factored(args, problem, bar),
        TransportSolver::Gw | TransportSolver::Fgw => gromov(args, problem, bar),
        TransportSolver::Lowrank => factored(args, problem, bar),
        TransportSolver::Sliced => sliced(args, problem),
    }
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
    more.extend(found.next_best.map(|next| ("next_best_cost", next)));
    more.extend(neighbours.map(|k| ("neighbours", k as f64)));
    Ok(TransportSolution {
        cost: found.value,
        marginal_error: found.marginal_error,
        iterations: Some(found.iterations),
        seconds: clock.elapsed().as_secs_f64(),
        stop: found.stop,
        plan: SolutionPlan::Dense(found.plan.mapv(f64::from)),
        more,
        as_good: found.next_best.filter(|_| found.is_ambiguous()),
        rounding: 0.0,
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

impl TransportSolution {
    fn report(&self, args: &TransportArgs, (n, m): (usize, usize)) -> Value {
        let mut report = object!({
            "solver": format!("{:?}", args.solver).to_lowercase(),
            "n": n,
            "m": m,
            "cost": self.cost,
            "marginal_error": self.marginal_error,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "stop": format!("{:?}", self.stop).to_lowercase(),
        });
        for (key, figure) in &self.more {
            report[*key] = object!(figure);
        }
        if let Some(path) = &args.output {
            report["plan"] = object!(path);
        }
        report
    }
}

fn warn(solution: &TransportSolution, global: &GlobalOptions) {
    if let Some(next) = solution.as_good.filter(|_| !global.quiet) {
        let cost = solution.cost;
        print::note(&format!(
            "warning: another matching is nearly as good (objective {next:.4e}, this one {cost:.4e}); \
             these distances hardly tell which of both is right; try others: --cost, --geodesic"
        ));
    }
    if solution.rounding > FEW_DIGITS && !global.quiet {
        let digits = (-solution.rounding.log10()).floor().max(0.0);
        print::note(&format!(
            "warning: the costs are so far above epsilon that single precision leaves the entries of this \
             plan about {digits} digits; raise --eps, or use --solver emd"
        ));
    }
    if solution.stop == StopReason::Flat {
        if !global.quiet {
            print::note("note: the objective no longer decreases, although the plan still changes");
        }
        return;
    }
    let why = match solution.stop {
        StopReason::Converged => return,
        StopReason::Iterations => "the iteration limit was reached (--iterations)",
        StopReason::Time => "the time limit was reached (--time-limit)",
        StopReason::Stalled if solution.iterations.is_none() => {
            "double precision proves the cost only to within the gap: the costs range too far"
        }
        StopReason::Stalled => {
            "the error no longer decreases: the tolerance is below the limit of single precision"
        }
        StopReason::Cancelled => "it was cancelled",
        _ => "it stopped early",
    };
    if !global.quiet {
        let error = solution.marginal_error;
        print::note(&format!("warning: not converged, {why}; marginal error {error:.1e}"));
    }
}
