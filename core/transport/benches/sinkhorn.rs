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
use peers::{Setting, median, timed};
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
            let (mut ours, mut shares) = (Vec::new(), Vec::new());
            let mut theirs = vec![Vec::new(); PEERS.len()];
            for round in 0..=setting.rounds {
                let solver = Sinkhorn::of_mean_cost(0.05);
                let solver = match mode {
                    "fixed" => solver.tolerance(0.0).iterations(100).accelerated(false),
                    _ => solver.tolerance(1e-6),
                };
                let ((plan, report), seconds) = timed(|| {
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
                ours.push(seconds);
                if mode == "fixed" {
                    shares.push(100.0 * read_once(n) / report.seconds);
                }
                for (name, times) in PEERS.iter().zip(&mut theirs) {
                    let long = n > 4000 && (*name == "pot_numpy_log" || mode == "converge" && round > 1);
                    if !setting.wants(&format!("{mode}/{name}")) || long {
                        continue;
                    }
                    let arguments = ["--impl", name, "--mode", mode, "--n", &n.to_string(), "--reps", "1"];
                    if let Some(line) = setting.peer("sinkhorn.py", &arguments) {
                        times.push(line["t_median_s"].as_f64().unwrap_or(f64::NAN));
                        if round == 1 {
                            println!(
                                "  {name}: cost {} rows {} columns {} others {}",
                                line["transport_cost"],
                                line["l1_err_rows"],
                                line["l1_err_cols"],
                                line["others_cpus"]
                            );
                        }
                    }
                }
            }
            println!(
                "  ours {:.4} s (of {:?})",
                median(&ours),
                ours.iter().map(|s| (s * 1e4).round() / 1e4).collect::<Vec<_>>()
            );
            if mode == "fixed" {
                println!(
                    "  share of the roofline (each iteration one read of the matrix, and nothing else): {:.2}",
                    median(&shares)
                );
            }
            for (name, times) in PEERS.iter().zip(&theirs).filter(|(_, times)| !times.is_empty()) {
                println!("  {name} {:.4} s, ratio {:.2}", median(times), median(times) / median(&ours));
            }
        }
    }
}

/// Seconds to read an `n x n` matrix of single precision once on all threads.
fn read_once(n: usize) -> f64 {
    let matrix = vec![1.0_f32; n * n];
    let times: Vec<f64> = (0..5)
        .map(|_| {
            let sum = |part: &[f32]| {
                part.as_chunks::<64>().0.iter().fold([0.0_f32; 64], |mut sum, x| {
                    (0..64).for_each(|l| sum[l] += x[l]);
                    sum
                })
            };
            timed(|| {
                std::hint::black_box(matrix.par_chunks((n * n).div_ceil(2)).map(sum).collect::<Vec<_>>())
            })
            .1
        })
        .collect();
    median(&times)
}
