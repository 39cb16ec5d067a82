//! `chiasm transport`: one problem of optimal transport from files, its figures on stdout, its plan into a file.
//!
//! Every solver answers with the same five figures: `cost` is `<P, C>` without any entropy (for gw and fgw the objective
//! at the plan), `marginal_error` the L1 distance of the marginals from what was asked. A limit that comes before the
//! tolerance is a warning, since the plan is what was reached until then; input that has no answer is refused.

mod problem;

use crate::{
    args::{Shared, Solver, TransportArgs},
    outcome::{Outcome, json, runs_without_engine},
    print,
    progress::Terminal,
};
use chiasm_pipeline::{Error, Reporter, write_npy, write_npz};
use chiasm_transport::{
    GromovWasserstein, LowRankPlan, Marginals, Result as Solved, Sinkhorn, SolverLimits, SolverProgress,
    StopReason, exact, low_rank, low_rank_gromov,
};
use ndarray::Array2;
use problem::{Problem, is_npz, settings};
use serde_json::{Value, json as object};
use std::{ops::ControlFlow, path::Path, sync::Arc, time::Duration};

/// The largest dense plan that is written, in entries: 4 GiB in single precision.
const MOST: usize = 1 << 30;

/// `transport`
pub fn transport(args: &TransportArgs, shared: &Shared) -> Outcome {
    runs_without_engine("transport", shared)?;
    settings(args)?;
    if let Some(threads) = shared.threads {
        // Fails only where a pool is there already, which then has its own size.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    let problem = Problem::read(args)?;
    let (n, m) = problem.shape;
    let factors = args.solver == Solver::Lowrank || args.rank.is_some();
    let low_rank_file = factors && args.output.as_deref().is_some_and(is_npz);
    if args.output.is_some() && !low_rank_file && n.saturating_mul(m) > MOST {
        let message = format!("a plan of {n} x {m} takes {} GiB", n.saturating_mul(m) >> 28);
        let help = "leave -o out, or take --solver lowrank (or gw with --rank) -o factors.npz";
        return Err(Error::input("chiasm::transport::plan", message, help));
    }
    let bar = Arc::new(Terminal::new(shared.quiet));
    let answer = solve(args, &problem, &bar).map_err(|e| problem.refuse(&e));
    bar.end();
    let answer = answer?;
    if let Some(path) = &args.output {
        answer.plan.write(path)?;
    }
    warn(&answer, shared);
    let said = answer.said(args, (n, m));
    if json(shared) {
        print::json(&said);
        return Ok(());
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows = said.as_object().into_iter().flatten().map(|(key, v)| vec![key.clone(), text(v)]).collect();
    print::table(&["transport", ""], rows, 1);
    Ok(())
}

/// What a solver reached.
struct Answer {
    cost: f64,
    marginal_error: f64,
    /// None where the solver has none that could be compared (exact).
    iterations: Option<usize>,
    seconds: f64,
    stop: StopReason,
    plan: Plan,
    /// Figures of this solver alone.
    more: Vec<(&'static str, f64)>,
}

enum Plan {
    Dense(Array2<f64>),
    Factors(Box<LowRankPlan>),
}

fn solve(args: &TransportArgs, problem: &Problem, bar: &Arc<Terminal>) -> Solved<Answer> {
    match args.solver {
        Solver::Emd => emd(args, problem, bar),
        Solver::Sinkhorn | Solver::Unbalanced | Solver::Partial => entropic(args, problem, bar),
        Solver::Gw if args.rank.is_some() => factored(args, problem, bar),
        Solver::Gw | Solver::Fgw => gromov(args, problem, bar),
        Solver::Lowrank => factored(args, problem, bar),
    }
}

fn emd(args: &TransportArgs, problem: &Problem, bar: &Arc<Terminal>) -> Solved<Answer> {
    let limits = SolverLimits::new(args.iterations.unwrap_or(usize::MAX)).time(time(args));
    let limits = limits.watch(watcher(bar, "pivots", args.iterations));
    let found = exact(problem.dense_cost()?.view(), &problem.a, &problem.b, &limits)?;
    let plan = found.plan();
    Ok(Answer {
        cost: found.transport_cost,
        marginal_error: problem.marginal_error(&plan),
        iterations: None,
        seconds: found.seconds,
        stop: found.stop,
        plan: Plan::Dense(plan),
        more: vec![("gap", found.gap)],
    })
}

fn entropic(args: &TransportArgs, problem: &Problem, bar: &Arc<Terminal>) -> Solved<Answer> {
    let most = args.iterations.unwrap_or(10_000);
    let mut solver = match args.eps {
        Some(eps) => Sinkhorn::new(eps),
        None => Sinkhorn::of_mean_cost(args.eps_scale.unwrap_or(0.05)),
    };
    solver = solver.tolerance(args.tolerance.unwrap_or(1e-6)).iterations(most).time_limit(time(args));
    solver = solver.watch(watcher(bar, "iterations", Some(most)));
    if let Some(rho) = args.rho {
        solver = solver.marginals(Marginals::Unbalanced { source: rho, target: rho });
    }
    if let Some(mass) = args.mass {
        solver = solver.marginals(Marginals::Partial { mass });
    }
    let cost = problem.cost()?;
    let coupling = solver.solve(&cost, &problem.a, &problem.b)?;
    let report = coupling.report;
    let mut more = vec![("epsilon", report.epsilon)];
    if args.debias {
        let (x, y) = problem.points()?;
        let divergence = solver.divergence(x.view(), y.view(), &problem.a, &problem.b)?;
        more.push(("divergence", divergence.value));
    }
    // The plan of a problem too large to hold it is never made; nobody asked for it (checked before).
    let wanted = args.output.is_some() || args.solver != Solver::Sinkhorn;
    let plan = if wanted { coupling.into_plan().mapv(f64::from) } else { Array2::zeros((0, 0)) };
    if args.solver != Solver::Sinkhorn {
        let mass = plan.sum();
        if args.solver == Solver::Partial && mass == 0.0 {
            let why = "no mass is left in single precision: raise --eps or --eps-scale";
            return Err(chiasm_transport::Error::Breakdown { what: "partial transport", why });
        }
        more.push(("mass", mass));
    }
    Ok(Answer {
        cost: report.transport_cost,
        marginal_error: report.marginal_error,
        iterations: Some(report.iterations),
        seconds: report.seconds,
        stop: report.stop,
        plan: Plan::Dense(plan),
        more,
    })
}

fn gromov(args: &TransportArgs, problem: &Problem, bar: &Arc<Terminal>) -> Solved<Answer> {
    let most = args.iterations.unwrap_or(1000);
    let solver = args.eps.map_or_else(GromovWasserstein::conditional_gradient, GromovWasserstein::entropic);
    let solver = solver.tolerance(args.tolerance.unwrap_or(1e-5)).iterations(most).time_limit(time(args));
    let mut solver =
        solver.starts(args.starts.unwrap_or(1)).watch(watcher(bar, "outer iterations", Some(most)));
    if args.solver == Solver::Fgw {
        let linear = problem.linear()?.mapv(|c| c as f32);
        solver = solver.fused(linear.view(), args.alpha.unwrap_or(0.5));
    }
    let (x, y) = problem.spaces()?;
    let found = solver.solve(&x, &y, &problem.a, &problem.b)?;
    Ok(Answer {
        cost: found.value,
        marginal_error: found.marginal_error,
        iterations: Some(found.iterations),
        seconds: found.seconds,
        stop: found.stop,
        plan: Plan::Dense(found.plan.mapv(f64::from)),
        more: Vec::new(),
    })
}

fn factored(args: &TransportArgs, problem: &Problem, bar: &Arc<Terminal>) -> Solved<Answer> {
    let most = args.iterations.unwrap_or(200);
    let limits = SolverLimits::new(most).time(time(args)).watch(watcher(bar, "iterations", Some(most)));
    let rank = args.rank.unwrap_or(50);
    let (weights, tolerance) = ((&*problem.a, &*problem.b), args.tolerance.unwrap_or(1e-4));
    let found = if args.solver == Solver::Gw {
        let (x, y) = problem.spaces()?;
        low_rank_gromov(&x, &y, weights, rank, tolerance, &limits)?
    } else {
        let (x, y) = problem.points()?;
        low_rank(x.view(), y.view(), weights, rank, tolerance, &limits)?
    };
    Ok(Answer {
        cost: found.transport_cost,
        marginal_error: found.marginal_error,
        iterations: Some(found.iterations),
        seconds: found.seconds,
        stop: found.stop,
        more: vec![("rank", found.source.ncols() as f64)],
        plan: Plan::Factors(Box::new(found)),
    })
}

fn time(args: &TransportArgs) -> Duration {
    Duration::try_from_secs_f64(args.time_limit).unwrap_or(Duration::MAX)
}

/// Moves the bar; a problem without a limit has no length.
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

impl Answer {
    fn said(&self, args: &TransportArgs, (n, m): (usize, usize)) -> Value {
        let mut said = object!({
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
            said[*key] = object!(figure);
        }
        if let Some(path) = &args.output {
            said["plan"] = object!(path);
        }
        said
    }
}

fn warn(answer: &Answer, shared: &Shared) {
    let why = match answer.stop {
        StopReason::Converged => return,
        StopReason::Iterations => "the iteration limit came first (--iterations)",
        StopReason::Time => "the time limit came first (--time-limit)",
        StopReason::Stalled => {
            "the error no longer falls: the tolerance lies below what single precision can reach"
        }
        _ => "it was stopped",
    };
    if !shared.quiet {
        let error = answer.marginal_error;
        print::note(&format!("warning: not converged, {why}; marginal error {error:.1e}"));
    }
}

impl Plan {
    fn write(&self, path: &Path) -> Outcome {
        let plan = match self {
            Self::Factors(found) if is_npz(path) => {
                let factors = [("source", &found.source), ("target", &found.target)];
                return write_npz(path, &factors.map(|(k, v)| (k.to_owned(), v.clone())).into());
            }
            Self::Factors(found) => {
                let weighted = found.source.mapv(|q| f64::from(q) * found.source.ncols() as f64);
                &weighted.dot(&found.target.t().mapv(f64::from))
            }
            Self::Dense(plan) => plan,
        };
        let temporary = path.with_extension("npy.tmp");
        let written = write_npy(&temporary, plan).and_then(|()| std::fs::rename(&temporary, path));
        written.map_err(|e| {
            let _ = std::fs::remove_file(&temporary); // best effort: the error below is what matters
            Error::io("write", path, e)
        })
    }
}
