//! Exact transport compared with POT's network simplex and SciPy's linear assignment, run alternately.
//!
//! ```text
//! cargo bench -p chiasm-transport --profile dev --bench exact -- --peer PYTHON --scripts DIR --sizes 1000
//! ```
//!
//! The clouds are disjoint samples of two mixtures, as in `emd.py --data-kind latent`. Computing the cost
//! matrix is not timed. `exact.py`, which lies beside this file, calls the peers with the same costs and the
//! same weights; `--scripts` is needed for the clouds only.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{SolverLimits, exact, uniform};
use ndarray::{Array2, ArrayView2, s};
use peers::{BenchOptions, PeerProcess, RunTime, TimingTable, timed};
use serde_json::json;

fn main() {
    let options = BenchOptions::read();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/exact.py");
    let mut peer = PeerProcess::start(&options, script);
    for n in options.sizes(&[1000, 2000, 5000]) {
        let (x, y) = options.clouds(2 * n, 384);
        let cost = distances(x.slice(s![..n, ..]), y.slice(s![n.., ..]));
        let weights = |seed: usize| -> Vec<f64> {
            let raw: Vec<f64> =
                (0..n).map(|i| 0.5 + ((i * 7919 + seed * 104_729) % 9973) as f64 / 9973.0).collect();
            let sum: f64 = raw.iter().sum();
            raw.iter().map(|w| w / sum).collect()
        };
        let cases = [
            ("uniform", uniform(n), uniform(n), &["pot", "scipy"][..]),
            ("general", weights(1), weights(2), &["pot"][..]),
        ];
        for (name, a, b, solvers) in cases.into_iter().filter(|case| options.wants(case.0)) {
            let file = std::env::temp_dir().join(format!("chiasm-exact-{}.f64", std::process::id()));
            let bytes: Vec<u8> = a.iter().chain(&b).chain(&cost).flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(&file, bytes).unwrap();
            let mut times = TimingTable::default();
            for _ in 0..options.rounds {
                let (result, time) =
                    timed(|| exact(cost.view(), &a, &b, &SolverLimits::new(usize::MAX)).unwrap());
                times.add("ours", time);
                println!(
                    "n={n} {name}: cost {:.9}, gap {:.1e}, {:?}",
                    result.transport_cost, result.gap, result.stop
                );
                for solver in solvers {
                    let asked = json!({"solver": solver, "n": n, "file": file});
                    let Some(answer) = peer.ask(&asked) else { continue };
                    let [cost, wall, processor] =
                        ["cost", "wall", "processor"].map(|name| answer[name].as_f64().unwrap());
                    times.add(solver, RunTime { wall, processor });
                    println!("  {solver}: cost {cost:.9}");
                }
                times.print();
            }
            std::fs::remove_file(&file).unwrap();
        }
    }
}

fn distances(x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Array2<f64> {
    let (x, y) = (x.mapv(f64::from), y.mapv(f64::from));
    let norms = |z: &Array2<f64>| z.rows().into_iter().map(|r| r.dot(&r)).collect::<Vec<_>>();
    let (p, q) = (norms(&x), norms(&y));
    let mut cost = x.dot(&y.t()) * -2.0;
    cost.indexed_iter_mut().for_each(|((i, j), c)| *c = (*c + p[i] + q[j]).max(0.0));
    cost
}
