//! Large clouds in little memory: Sinkhorn with a coarse start and a streamed kernel, and low-rank transport.
//! Prints time, error and peak memory by size.
//!
//! ```text
//! cargo bench -p chiasm-transport --profile dev --bench large -- --peer PYTHON --scripts DIR --sizes 10000
//! ```
//!
//! `--only gromov` runs low-rank Gromov-Wasserstein between clouds with d = 64 and d = 32. Give the sizes in
//! ascending order, because the peak memory is that of the process. `growth.py` turns the output into
//! growth.svg.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{Cost, Sinkhorn, SolverLimits, Space, StopReason, low_rank, low_rank_gromov, uniform};
use ndarray::{ArrayView2, s};
use peers::{BenchOptions, RunTime, timed};
use std::time::Duration;

fn main() {
    let options = BenchOptions::read();
    for n in options.sizes(&[10_000, 20_000, 50_000, 100_000]) {
        let (x, y) = options.clouds(n, 64);
        let p = uniform(n);
        if options.wants("lowrank") {
            let (plan, time) =
                timed(|| low_rank(x.view(), y.view(), (&p, &p), 64, 1e-4, &SolverLimits::new(60)).unwrap());
            let figures = (plan.iterations, plan.transport_cost, plan.marginal_error);
            line("rank 64", n, time, plan.stop, figures);
        }
        if options.wants("gromov") {
            let (plan, time) = timed(|| {
                let space = |z: ArrayView2<'_, f32>| Space::squared_euclidean(z).unwrap().normalised();
                let (x, y) = (space(x.view()), space(y.slice(s![.., ..32])));
                low_rank_gromov(&x, &y, (&p, &p), 50, 1e-4, &SolverLimits::new(200)).unwrap()
            });
            let figures = (plan.iterations, plan.transport_cost, plan.marginal_error);
            line("gromov, rank 50", n, time, plan.stop, figures);
        }
        if options.wants("streaming") {
            let (report, time) = timed(|| {
                let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
                let solver = Sinkhorn::of_mean_cost(0.05).tolerance(1e-3).memory(64 << 20);
                let solver = solver.time_limit(Duration::from_secs(600));
                let make = |x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>| Cost::squared_euclidean(x, y);
                solver.coarse_start(x.view(), y.view(), make).unwrap().solve(&cost, &p, &p).unwrap().report
            });
            let figures = (report.iterations, report.transport_cost, report.marginal_error);
            line("streaming", n, time, report.stop, figures);
        }
    }
}

/// Prints a line that `growth.py` can parse.
fn line(
    solver: &str,
    n: usize,
    time: RunTime,
    stop: StopReason,
    (iterations, cost, error): (usize, f64, f64),
) {
    println!(
        "{solver}: n {n}, {:.2} s, processor {:.2} s, peak {} MiB, {iterations} iterations, {stop:?}, \
         cost {cost:.5}, marginal error {error:.1e}",
        time.wall,
        time.processor,
        peak_mib()
    );
}

/// Returns the peak memory of this process in MiB.
fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|k| k.parse::<usize>().ok()).unwrap_or(0) / 1024
}
