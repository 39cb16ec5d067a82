//! `chiasm transport`: solves an optimal transport problem given as files, and prints or writes the result.
//!
//! All solvers report `cost`, which is `<P, C>` without the entropy (for gw and fgw, the objective at the
//! plan), and `marginal_error`, the L1 distance of the plan's marginals from the weights. If a limit is
//! reached before the tolerance, the current plan is returned with a warning. Invalid input is an error.

mod explained;
mod images;
mod memory;
mod options;
mod output;
mod problem;
mod solvers;

use crate::{
    args::{GlobalOptions, TransportArgs},
    command_result::{CommandResult, check_unused_options, json},
    output_file, print,
    progress::Terminal,
};
use chiasm_pipeline::{Reporter, available_memory};
use chiasm_transport::StopReason;
pub use explained::REPORTED;
use explained::definition;
use problem::TransportProblem;
use serde_json::{Value, json as object};
use solvers::{TransportSolution, solve};
use std::sync::Arc;

/// Runs `chiasm transport`.
pub fn transport(args: &TransportArgs, global: &GlobalOptions) -> CommandResult {
    check_unused_options("transport", global)?;
    options::check(args)?;
    if let Some(threads) = global.threads {
        // Fails only if a thread pool exists already; its size is kept then.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    let problem = TransportProblem::read(args)?;
    for path in [&args.output, &args.images].into_iter().flatten() {
        output_file::check(path, problem.files.iter().flatten())?;
    }
    images::check(args, &problem).map_err(|e| problem.error(&e))?;
    memory::check(args, problem.shape, problem.width(), available_memory())?;
    let bar = Arc::new(Terminal::new(global.quiet));
    let solution = solve(args, &problem, &bar).map_err(|e| problem.error(&e));
    bar.end();
    let solution = solution?;
    if let Some(path) = &args.output {
        output::write(&solution.plan, path)?;
    }
    if let (Some(path), Some(images)) = (&args.images, &solution.images) {
        output::write_points(&images.points, path)?;
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

/// The rounding error of a plan's entries from which a warning is printed.
const FEW_DIGITS: f64 = 1e-3;

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
        if let (Some(path), Some(images)) = (&args.images, &self.images) {
            report["images"] = object!(path);
            report["images_by_nearest"] = object!(images.by_nearest);
        }
        report
    }
}

fn warn(solution: &TransportSolution, global: &GlobalOptions) {
    if let Some([own, next]) = solution.as_good.filter(|_| !global.quiet) {
        print::note(&format!(
            "warning: another matching is nearly as good (objective {next:.4e}, this one {own:.4e}); \
             these distances hardly tell which of both is right; try others: --cost, --geodesic"
        ));
    }
    let by_nearest = solution.images.as_ref().map_or(0, |images| images.by_nearest);
    if by_nearest > 0 && !global.quiet {
        print::note(&format!(
            "note: {by_nearest} source points send no mass; in --images they move as the nearest one that \
             does"
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
