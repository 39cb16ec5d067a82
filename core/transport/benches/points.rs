//! Exact transport between points without a cost matrix, compared with POT's `emd2_lazy`, run alternately.
//!
//! ```text
//! cargo bench -p chiasm-transport --profile dev --bench points -- --peer PYTHON --scripts DIR --sizes 2000
//! ```
//!
//! Disjoint samples of two mixtures in 64 dimensions, equal weights, squared distances. The peak memory is
//! that of the process, which also holds the points. POT needs `points.py`, which lies beside this file.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{PointDistance, SolverLimits, exact_points, uniform};
use ndarray::{Array2, ArrayView2, s};
use peers::{BenchOptions, TimingTable, timed};

const DIMENSIONS: usize = 64;

fn main() {
    let options = BenchOptions::read();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/points.py");
    for n in options.sizes(&[2000, 5000]) {
        let (x, y) = options.clouds(2 * n, DIMENSIONS);
        let (x, y) = (x.slice(s![..n, ..]), y.slice(s![n.., ..]));
        let files = [("x", x), ("y", y)].map(|(name, points): (&str, ArrayView2<'_, f32>)| {
            let path = std::env::temp_dir().join(format!("chiasm-points-{n}-{name}.f32"));
            let bytes: Vec<u8> = points.iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        });
        let double = |points: ArrayView2<'_, f32>| -> Array2<f64> { points.mapv(f64::from) };
        let (x, y) = (double(x), double(y));
        let mut times = TimingTable::default();
        for _ in 0..options.rounds {
            let (distance, limits) = (PointDistance::SquaredEuclidean, SolverLimits::new(usize::MAX));
            let solve = || exact_points(x.view(), y.view(), distance, &uniform(n), &uniform(n), &limits);
            let (found, time) = timed(|| solve().unwrap());
            times.add("ours", time);
            println!(
                "n={n}: cost {:.9}, gap {:.1e}, {:?}, peak {} MiB",
                found.transport_cost,
                found.gap,
                found.stop,
                peak_mebibytes().unwrap_or(0)
            );
            let arguments = [files[0].as_str(), &files[1], &DIMENSIONS.to_string()];
            if let Some((line, time)) = options.peer(script, &arguments) {
                times.add("POT", time);
                println!("  POT: cost {}, peak {} MiB", line["cost"], line["peak_mib"]);
            }
            times.print();
        }
    }
}

/// The largest resident memory of this process so far.
fn peak_mebibytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes / 1024)
}
