//! Large clouds in little memory: a coarse start and streaming sweeps, and low rank; time, error and peak memory by size.
//!
//! `cargo bench -p chiasm-transport --profile dev --bench large -- --peer PYTHON --scripts DIR [--sizes 10000,100000]`
//! `--only gromov`: low-rank Gromov-Wasserstein between d = 64 and its first 32 columns. Sizes in rising order, for the peak is the process's. `growth.py` beside this makes growth.svg of what it prints.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{Cost, Limits, Sinkhorn, Space, Stop, low_rank, low_rank_gromov, uniform};
use ndarray::{ArrayView2, s};
use peers::{Setting, Took, timed};
use std::time::Duration;

fn main() {
    let setting = Setting::read();
    for n in setting.sizes(&[10_000, 20_000, 50_000, 100_000]) {
        let (x, y) = setting.clouds(n, 64);
        let p = uniform(n);
        if setting.wants("lowrank") {
            let (plan, time) =
                timed(|| low_rank(x.view(), y.view(), (&p, &p), 64, 1e-4, &Limits::new(60)).unwrap());
            let figures = (plan.iterations, plan.transport_cost, plan.marginal_error);
            line("rank 64", n, time, plan.stop, figures);
        }
        if setting.wants("gromov") {
            let (plan, time) = timed(|| {
                let space = |z: ArrayView2<'_, f32>| Space::squared_euclidean(z).unwrap().normalised();
                let (x, y) = (space(x.view()), space(y.slice(s![.., ..32])));
                low_rank_gromov(&x, &y, (&p, &p), 50, 1e-4, &Limits::new(200)).unwrap()
            });
            let figures = (plan.iterations, plan.transport_cost, plan.marginal_error);
            line("gromov, rank 50", n, time, plan.stop, figures);
        }
        if setting.wants("streaming") {
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

/// What `growth.py` plots.
fn line(solver: &str, n: usize, time: Took, stop: Stop, (iterations, cost, error): (usize, f64, f64)) {
    println!(
        "{solver}: n {n}, {:.2} s, processor {:.2} s, peak {} MiB, {iterations} iterations, {stop:?}, cost {cost:.5}, \
         marginal error {error:.1e}",
        time.wall,
        time.processor,
        peak_mib()
    );
}

/// The most memory this process has held.
fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|k| k.parse::<usize>().ok()).unwrap_or(0) / 1024
}
