//! Sinkhorn compared with POT, OTT-JAX and hand-written PyTorch, run alternately on the same clouds and
//! threads.
//!
//! ```text
//! cargo bench -p chiasm-transport --profile dev --bench sinkhorn -- --peer PYTHON --scripts DIR --sizes 1000
//! ```
//!
//! This crate and POT return the dense plan, OTT and PyTorch only the potentials. `others` is the mean number
//! of cores that other processes used during the peer's run: trust ratios where it is near zero.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{Cost, CouplingReport, Sinkhorn, uniform};
use ndarray::Array2;
use peers::{BenchOptions, TimingTable, median, timed};
use rayon::prelude::*;

const PEERS: &[&str] = &["pot_numpy_kernel", "torch_hand_compile", "ott", "pot_numpy_log"];

fn main() {
    let options = BenchOptions::read();
    for n in options.sizes(&[1000, 4000, 10_000]) {
        let (x, y) = options.clouds(n, 384);
        for mode in ["fixed", "converge"] {
            if PEERS.iter().any(|name| options.wants(&format!("{mode}/{name}"))) {
                compare(&options, mode, (&x, &y));
            }
        }
    }
}

/// Runs this crate and its peers with a fixed number of iterations, or until they converge.
fn compare(options: &BenchOptions, mode: &str, (x, y): (&Array2<f32>, &Array2<f32>)) {
    let n = x.nrows();
    let solver = Sinkhorn::of_mean_cost(0.05);
    let solver = match mode {
        "fixed" => solver.tolerance(0.0).iterations(options.iterations).accelerated(false),
        _ => solver.tolerance(1e-6),
    };
    let (mut times, mut shares) = (TimingTable::default(), Vec::new());
    for round in 0..=options.rounds {
        let ((plan, report), time) = timed(|| {
            let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
            let coupling = solver.solve(&cost, &uniform(n), &uniform(n)).unwrap();
            let report = coupling.report;
            (coupling.into_plan(), report)
        });
        if round == 0 {
            print_result(mode, &plan, &report);
            continue; // warm-up
        }
        times.add("ours", time);
        if mode == "fixed" {
            shares.push(100.0 * report.iterations as f64 * read_once(n) / report.seconds);
        }
        for name in PEERS {
            let slow = *name == "pot_numpy_log" && options.iterations > 20;
            let long = n > 4000 && (slow || mode == "converge" && round > 1);
            if options.wants(&format!("{mode}/{name}")) && !long {
                run_peer(options, mode, name, n, &mut times);
            }
        }
        times.print();
    }
    if mode == "fixed" {
        let share = median(&shares);
        println!(
            "  share of the roofline (one read of the matrix per iteration, nothing else): {share:.0} %"
        );
    }
}

fn print_result(mode: &str, plan: &Array2<f32>, report: &CouplingReport) {
    let n = plan.nrows() as f64;
    let sum = |row: ndarray::ArrayView1<'_, f32>| row.iter().map(|&p| f64::from(p)).sum::<f64>();
    let error = plan.rows().into_iter().map(|row| (sum(row) * n - 1.0).abs()).sum::<f64>() / n;
    println!(
        "n={n} {mode}: {} iterations, {:?}, error {:.1e}, rows of the plan {error:.1e}, cost {:.6}",
        report.iterations, report.stop, report.marginal_error, report.transport_cost
    );
}

fn run_peer(options: &BenchOptions, mode: &str, name: &str, n: usize, times: &mut TimingTable) {
    let (n, iterations) = (n.to_string(), options.iterations.to_string());
    let arguments = ["--impl", name, "--mode", mode, "--n", &n, "--reps", "1", "--iters", &iterations];
    if let Some((line, time)) = options.peer("sinkhorn.py", &arguments) {
        times.add(name, time);
        let [cost, rows, columns] = ["transport_cost", "l1_err_rows", "l1_err_cols"].map(|k| &line[k]);
        println!("  {name}: cost {cost} rows {rows} columns {columns} others {}", line["others_cpus"]);
    }
}

/// Returns the seconds that all threads take to read an `n x n` matrix in single precision once.
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
