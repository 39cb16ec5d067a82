//! Measures side by side with the best peer of each, in turns, on the same clouds and threads.
//!
//! `cargo bench -p chiasm-geometry --profile dev --bench measures -- --peer PYTHON --scripts DIR [--only
//! mmd]` The peers' CCA and Procrustes also compute singular vectors; ours, as measures, need the values
//! alone.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

#[path = "../../transport/benches/peers/mod.rs"]
mod peers;

use chiasm_geometry::canonical::{correlations, procrustes_residual};
use chiasm_geometry::{cka, discrepancy::mmd2_rbf, neighbours::Neighbours};
use ndarray::ArrayView2;
use peers::{BenchOptions, TimingTable, timed};

type Cloud<'a> = ArrayView2<'a, f32>;

/// Name, rows, width, ours, the peers' script, which of them, and how they are called.
type Contest = (
    &'static str,
    usize,
    usize,
    fn(Cloud<'_>, Cloud<'_>) -> f64,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const CONTESTS: &[Contest] = &[
    ("knn", 20_000, 384, knn, "knn.py", &["faiss_flat", "torch"], &[]),
    ("mmd", 10_000, 384, mmd, "mmd.py", &["sklearn", "torch", "jax"], &[]),
    ("cka", 50_000, 768, linear_cka, "linalg.py", &["numpy", "torch", "jax"], &["--task", "cka"]),
    ("cca", 50_000, 768, cca, "linalg.py", &["numpy", "torch", "jax"], &["--task", "cca"]),
    ("procrustes", 50_000, 768, residual, "linalg.py", &["numpy", "torch", "jax"], &["--task", "procrustes"]),
];

fn main() {
    let options = BenchOptions::read();
    for &(name, n, d, ours, script, peers, words) in CONTESTS {
        if !options.wants(name) {
            continue;
        }
        let (x, y) = options.clouds(n, d);
        let (size, width) = (n.to_string(), d.to_string());
        let mut turns = TimingTable::default();
        println!("{name}, n = {n}, d = {d}: {:.6}", ours(x.view(), y.view())); // warm-up
        for _ in 0..options.rounds {
            turns.add("ours", timed(|| ours(x.view(), y.view())).1);
            for peer in peers {
                let call = [&["--impl", peer, "--n", &size, "--d", &width, "--reps", "1"], words].concat();
                if let Some((line, took)) = options.peer(script, &call) {
                    turns.add(peer, took);
                    println!("  {peer}: others {} mmd2 {}", line["others_cpus"], line["mmd2"]);
                }
            }
        }
        turns.print();
    }
}

fn knn(x: Cloud<'_>, _: Cloud<'_>) -> f64 {
    Neighbours::of(x, 10, 0).unwrap().distance.sum()
}

/// With the peers' width, one over the mean squared distance, which they find before the clock starts: so
/// does the warm-up.
fn mmd(x: Cloud<'_>, y: Cloud<'_>) -> f64 {
    static GAMMA: std::sync::OnceLock<f64> = std::sync::OnceLock::new();
    mmd2_rbf(x, y, Some(*GAMMA.get_or_init(|| gamma(x, y)))).unwrap().biased
}

fn gamma(x: Cloud<'_>, y: Cloud<'_>) -> f64 {
    let squares = |x: Cloud<'_>| x.mapv(|v| v * v).sum() / x.nrows() as f32;
    let mean = |x: Cloud<'_>| x.mean_axis(ndarray::Axis(0)).unwrap();
    1.0 / f64::from(squares(x) + squares(y) - 2.0 * mean(x).dot(&mean(y)))
}

fn linear_cka(x: Cloud<'_>, y: Cloud<'_>) -> f64 {
    cka::linear(x, y).unwrap().biased
}

fn cca(x: Cloud<'_>, y: Cloud<'_>) -> f64 {
    correlations(x, y, 1e-4).unwrap()[0]
}

fn residual(x: Cloud<'_>, y: Cloud<'_>) -> f64 {
    procrustes_residual(x, y).unwrap()
}
