//! Sinkhorn side by side with what a user would pick today, in turns, on the same clouds and threads.
//!
//! `cargo bench -p chiasm-transport --profile dev --bench sinkhorn -- --peer PYTHON --scripts DIR [--sizes 1000,4000]`
//! Ours returns the dense plan (as POT does), peers of OTT and torch return potentials only. `others` is the mean number
//! of cores that other processes used during the peer's run: trust ratios where it is near zero.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{Cost, Sinkhorn, uniform};
use peers::{Setting, Turns, median, timed};
use rayon::prelude::*;

const PEERS: &[&str] = &["pot_numpy_kernel", "torch_hand_compile", "ott", "pot_numpy_log"];

fn main() {
    let setting = Setting::read();
    for n in setting.sizes(&[1000, 4000, 10_000]) {
        let (x, y) = setting.clouds(n, 384);
        for mode in ["fixed", "converge"] {
            if !PEERS.iter().any(|name| setting.wants(&format!("{mode}/{name}"))) {
                continue;
            }
            let (mut turns, mut shares) = (Turns::default(), Vec::new());
            for round in 0..=setting.rounds {
                let solver = Sinkhorn::of_mean_cost(0.05);
                let solver = match mode {
                    "fixed" => solver.tolerance(0.0).iterations(setting.iterations).accelerated(false),
                    _ => solver.tolerance(1e-6),
                };
                let ((plan, report), time) = timed(|| {
                    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
                    let coupling = solver.solve(&cost, &uniform(n), &uniform(n)).unwrap();
                    let report = coupling.report;
                    (coupling.into_plan(), report)
                });
                if round == 0 {
                    let rows = plan
                        .rows()
                        .into_iter()
                        .map(|r| (r.iter().map(|&p| f64::from(p)).sum::<f64>() * n as f64 - 1.0).abs());
                    let error = rows.sum::<f64>() / n as f64;
                    println!(
                        "n={n} {mode}: {} iterations, {:?}, error {:.1e}, rows of the plan {error:.1e}, cost {:.6}",
                        report.iterations, report.stop, report.marginal_error, report.transport_cost
                    );
                    continue; // warm-up
                }
                turns.add("ours", time);
                if mode == "fixed" {
                    shares.push(100.0 * report.iterations as f64 * read_once(n) / report.seconds);
                }
                for name in PEERS {
                    let slow = *name == "pot_numpy_log" && setting.iterations > 20;
                    let long = n > 4000 && (slow || mode == "converge" && round > 1);
                    if !setting.wants(&format!("{mode}/{name}")) || long {
                        continue;
                    }
                    let (n, iterations) = (n.to_string(), setting.iterations.to_string());
                    let arguments =
                        ["--impl", name, "--mode", mode, "--n", &n, "--reps", "1", "--iters", &iterations];
                    if let Some((line, time)) = setting.peer("sinkhorn.py", &arguments) {
                        turns.add(name, time);
                        let [cost, rows, columns] =
                            ["transport_cost", "l1_err_rows", "l1_err_cols"].map(|k| &line[k]);
                        println!(
                            "  {name}: cost {cost} rows {rows} columns {columns} others {}",
                            line["others_cpus"]
                        );
                    }
                }
                turns.print();
            }
            if mode == "fixed" {
                println!(
                    "  share of the roofline (each iteration one read of the matrix, and nothing else): {:.0} %",
                    median(&shares)
                );
            }
        }
    }
}

/// Seconds to read an `n x n` matrix of single precision once on all threads.
fn read_once(n: usize) -> f64 {
    let matrix = vec![1.0_f32; n * n];
    let sum = |part: &[f32]| {
        let mut sum = [0.0_f32; 64];
        part.as_chunks::<64>().0.iter().for_each(|x| (0..64).for_each(|l| sum[l] += x[l]));
        sum
    };
    let half = (n * n).div_ceil(2);
    let read = || std::hint::black_box(matrix.par_chunks(half).map(sum).collect::<Vec<_>>());
    let times: Vec<f64> = (0..5).map(|_| timed(read).1.wall).collect();
    median(&times)
}
