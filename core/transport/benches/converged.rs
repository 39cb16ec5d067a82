//! Entropic Gromov-Wasserstein to the end, on distances without low rank, compared with POT, run alternately.
//!
//! ```text
//! cargo bench -p chiasm-transport --profile dev --bench converged -- --peer PYTHON --sizes 200,1000
//! ```
//!
//! Euclidean distances within normal clouds of 5 and of 3 dimensions, scaled to a maximum of one, from the
//! product plan. Both sides stop by themselves: this crate when ten iterations lower the objective by less
//! than 1e-6 of it, POT with its defaults (at most 1000 iterations). Both print the objective with its
//! entropy, which they minimise, in double precision. POT needs `converged.py`, which lies beside this file.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{GromovWasserstein, Space, uniform};
use ndarray::Array2;
use peers::{BenchOptions, TimingTable, timed};

fn main() {
    let options = BenchOptions::read();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/converged.py");
    for n in options.sizes(&[200, 500, 1000]) {
        let (x, y) = (normal(n, 5, 1), normal(n, 3, 2));
        let files = [("x", &x), ("y", &y)].map(|(name, points)| {
            let path = std::env::temp_dir().join(format!("chiasm-converged-{n}-{name}.f32"));
            let bytes: Vec<u8> = points.iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        });
        let (dx, dy) = (distances(&x), distances(&y));
        let p = uniform(n);
        for epsilon in [1e-2, 5e-3] {
            let solver = GromovWasserstein::entropic(epsilon).iterations(1000).flat_objective(1e-6);
            let solve = || {
                let matrix = |d: &Array2<f32>| Space::matrix(d.view()).unwrap();
                solver.solve(&matrix(&dx), &matrix(&dy), &p, &p).unwrap()
            };
            let mut times = TimingTable::default();
            for round in 0..=options.rounds {
                let (found, time) = timed(solve);
                if round == 0 {
                    let own = |t: &f32| f64::from(*t) * (f64::from(*t) * (n * n) as f64).max(1e-300).ln();
                    let entropy = found.plan.iter().map(own).sum::<f64>();
                    let objective = found.value + epsilon * entropy;
                    let (stop, iterations) = (found.stop, found.iterations);
                    println!(
                        "n={n} epsilon={epsilon}: objective {objective:.8}, {iterations} iterations, {stop:?}"
                    );
                    continue; // warm-up
                }
                times.add("ours", time);
                let arguments = [files[0].as_str(), &files[1], &epsilon.to_string()];
                if let Some((line, time)) = options.peer(script, &arguments) {
                    times.add("POT", time);
                    println!("  POT: objective {}, {} iterations", line["objective"], line["iterations"]);
                }
                times.print();
            }
        }
    }
}

/// Normal pseudo-random numbers (Box and Muller 1958 on SplitMix64).
fn normal(n: usize, d: usize, seed: u64) -> Array2<f32> {
    let mut state = seed;
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    Array2::from_shape_simple_fn((n, d), || {
        let (radius, angle) = ((-2.0 * uniform().ln()).sqrt(), std::f64::consts::TAU * uniform());
        (radius * angle.cos()) as f32
    })
}

/// Euclidean distances, scaled to a maximum of one.
fn distances(x: &Array2<f32>) -> Array2<f32> {
    let apart = |(i, j)| {
        let squares = x.row(i).iter().zip(x.row(j)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        squares.sqrt()
    };
    let d = Array2::from_shape_fn((x.nrows(), x.nrows()), apart);
    let top = d.iter().fold(0.0_f64, |top, d| top.max(*d));
    (d / top).mapv(|v| v as f32)
}
