//! Entropic Gromov-Wasserstein compared with POT, run alternately.
//!
//! ```text
//! cargo bench -p chiasm-transport --profile dev --bench gromov -- --peer PYTHON --scripts DIR --sizes 500
//! ```
//!
//! Uses the clouds of `gw.py`, which also recomputes POT's objective in double precision. This crate runs
//! once from the points and once from the two matrices that POT receives, in which it detects the low rank
//! (192 and 384 coordinates). 10 outer iterations.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{GromovWasserstein, Space, uniform};
use ndarray::{Array2, s};
use peers::{BenchOptions, TimingTable, timed};

fn main() {
    let options = BenchOptions::read();
    for n in options.sizes(&[500, 1000, 2000]) {
        let (x, y) = options.clouds(n, 384);
        let y = y.slice(s![.., ..192]).to_owned();
        let points = |z: &Array2<f32>| Space::squared_euclidean(z.view()).unwrap().normalised();
        let (px, py) = (points(&x), points(&y));
        let (dx, dy) = (dense(&x), dense(&y));
        let matrix = |d: &Array2<f32>| Space::matrix(d.view()).unwrap();
        let solver = GromovWasserstein::entropic(0.005).iterations(10).tolerance(0.0);
        let p = uniform(n);
        let mut times = TimingTable::default();
        for round in 0..=options.rounds {
            let from_points = || solver.solve(&px, &py, &p, &p).unwrap();
            // Includes the detection of low rank, as POT's time includes its own preparation.
            let from_matrices = || solver.solve(&matrix(&dx), &matrix(&dy), &p, &p).unwrap();
            from_points(); // warm-up; the peer's process also runs once before it is timed
            let (found, time) = timed(from_points);
            let (other, time_dense) = timed(from_matrices);
            if round == 0 {
                let error = found.marginal_error;
                println!(
                    "n={n}: value {:.9} (dense {:.9}), marginal error {error:.1e}",
                    found.value, other.value
                );
                continue; // warm-up
            }
            times.add("ours from points", time);
            times.add("ours from matrices", time_dense);
            if options.wants("pot_egw")
                && let Some((line, time)) = options.peer("gw.py", &["--n", &n.to_string(), "--reps", "1"])
            {
                times.add("POT", time);
                println!("  POT: value {} rows {}", line["gw_value_f64"], line["l1_err_rows"]);
            }
            times.print();
        }
    }
}

/// Retimes squared distances, scaled to a maximum of one.
fn dense(z: &Array2<f32>) -> Array2<f32> {
    let z = z.mapv(f64::from);
    let norms: Vec<f64> = z.rows().into_iter().map(|r| r.dot(&r)).collect();
    let mut d = z.dot(&z.t()) * -2.0;
    d.indexed_iter_mut()
        .for_each(|((i, j), c)| *c = if i == j { 0.0 } else { (*c + norms[i] + norms[j]).max(0.0) });
    let top = d.iter().fold(0.0_f64, |t, v| t.max(*v));
    (d / top).mapv(|v| v as f32)
}
