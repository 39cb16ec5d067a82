//! Measures compared with the fastest peers of each, run alternately on the same clouds and threads.
//!
//! ```text
//! cargo bench -p chiasm-geometry --profile dev --bench measures -- --peer PYTHON --scripts DIR [--only mmd]
//! ```
//!
//! The peers' CCA and Procrustes also compute singular vectors, which the measures here do not need.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

#[path = "../../transport/benches/peers/mod.rs"]
mod peers;

use chiasm_geometry::canonical::{canonical_correlations, procrustes_residual};
use chiasm_geometry::{cka, discrepancy::mmd2_rbf, neighbours::Neighbours};
use ndarray::ArrayView2;
use peers::{BenchOptions, TimingTable, timed};

type Cloud<'a> = ArrayView2<'a, f32>;

/// One measure of this crate and the peers it is compared with.
struct Comparison {
    name: &'static str,
    rows: usize,
    width: usize,
    ours: fn(Cloud<'_>, Cloud<'_>) -> f64,
    /// The peers' script, its implementations, and further arguments.
    script: &'static str,
    peers: &'static [&'static str],
    arguments: &'static [&'static str],
}

const fn dense(
    name: &'static str,
    ours: fn(Cloud<'_>, Cloud<'_>) -> f64,
    arguments: &'static [&'static str],
) -> Comparison {
    let peers = &["numpy", "torch", "jax"];
    Comparison { name, rows: 50_000, width: 768, ours, script: "linalg.py", peers, arguments }
}

const COMPARISONS: &[Comparison] = &[
    Comparison {
        name: "knn",
        rows: 20_000,
        width: 384,
        ours: knn,
        script: "knn.py",
        peers: &["faiss_flat", "torch"],
        arguments: &[],
    },
    Comparison {
        name: "mmd",
        rows: 10_000,
        width: 384,
        ours: mmd,
        script: "mmd.py",
        peers: &["sklearn", "torch", "jax"],
        arguments: &[],
    },
    dense("cka", linear_cka, &["--task", "cka"]),
    dense("cca", cca, &["--task", "cca"]),
    dense("procrustes", residual, &["--task", "procrustes"]),
];

fn main() {
    let options = BenchOptions::read();
    for &Comparison { name, rows: n, width: d, ours, script, peers, arguments } in COMPARISONS {
        if !options.wants(name) {
            continue;
        }
        let (x, y) = options.clouds(n, d);
        let (size, width) = (n.to_string(), d.to_string());
        let mut times = TimingTable::default();
        println!("{name}, n = {n}, d = {d}: {:.6}", ours(x.view(), y.view())); // warm-up
        for _ in 0..options.rounds {
            times.add("ours", timed(|| ours(x.view(), y.view())).1);
            for peer in peers {
                let call =
                    [&["--impl", peer, "--n", &size, "--d", &width, "--reps", "1"], arguments].concat();
                if let Some((line, time)) = options.peer(script, &call) {
                    times.add(peer, time);
                    println!("  {peer}: others {} mmd2 {}", line["others_cpus"], line["mmd2"]);
                }
            }
        }
        times.print();
    }
}

fn knn(x: Cloud<'_>, _: Cloud<'_>) -> f64 {
    Neighbours::new(x, 10, 0).unwrap().distance.sum()
}

/// Uses the kernel width of the peers, one over the mean squared distance. They compute it before they start
/// the timer; here the warm-up does.
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
    canonical_correlations(x, y, 1e-4).unwrap()[0]
}

fn residual(x: Cloud<'_>, y: Cloud<'_>) -> f64 {
    procrustes_residual(x, y).unwrap()
}
