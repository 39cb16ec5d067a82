//! Large clouds in little memory: a coarse start and streaming sweeps, and low rank; time, error and peak memory by size.
//!
//! `cargo bench -p chiasm-transport --profile dev --bench large -- --peer PYTHON --scripts DIR [--sizes 10000,100000]`
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{Cost, Limits, Sinkhorn, low_rank, uniform};
use peers::{Setting, Turns, timed};
use std::time::Duration;

fn main() {
    let setting = Setting::read();
    for n in setting.sizes(&[10_000, 30_000, 100_000]) {
        let (x, y) = setting.clouds(n, 64);
        let p = uniform(n);
        let mut turns = Turns::default();
        for _ in 0..if setting.wants("lowrank") { setting.rounds } else { 0 } {
            let (plan, time) =
                timed(|| low_rank(x.view(), y.view(), (&p, &p), 64, 1e-4, &Limits::new(60)).unwrap());
            println!(
                "n={n} rank 64: {} steps, {:?}, cost {:.5}, marginal error {:.1e}, peak {} MiB",
                plan.iterations,
                plan.stop,
                plan.transport_cost,
                plan.marginal_error,
                peak_mib()
            );
            turns.add("low rank", time);
        }
        if setting.wants("streaming") {
            let (report, time) = timed(|| {
                let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
                let solver = Sinkhorn::of_mean_cost(0.05).tolerance(1e-3).memory(64 << 20);
                let solver = solver.time_limit(Duration::from_secs(400));
                let make = |x: ndarray::ArrayView2<'_, f32>, y: ndarray::ArrayView2<'_, f32>| {
                    Cost::squared_euclidean(x, y)
                };
                solver.coarse_start(x.view(), y.view(), make).unwrap().solve(&cost, &p, &p).unwrap().report
            });
            println!(
                "n={n} streaming to 1e-3: {} sweeps, {:?}, cost {:.5}, marginal error {:.1e}, peak {} MiB",
                report.iterations,
                report.stop,
                report.transport_cost,
                report.marginal_error,
                peak_mib()
            );
            turns.add("streaming", time);
        }
        turns.print();
    }
}

/// The most memory this process has held.
fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|k| k.parse::<usize>().ok()).unwrap_or(0) / 1024
}
