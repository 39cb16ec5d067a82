//! Entropic Gromov-Wasserstein side by side with POT, in turns.
//!
//! `cargo bench -p chiasm-transport --profile dev --bench gromov -- --peer PYTHON --scripts DIR [--sizes 500,1000]`
//! The clouds of `gw.py` (whose value is re-measured there in double precision): ours once from the points, once
//! from the two matrices that POT is given (in which ours finds points where they have few coordinates: 192 and 384 here). 10 outer iterations.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{Gromov, Space, uniform};
use ndarray::{Array2, s};
use peers::{Setting, Turns, timed};

fn main() {
    let setting = Setting::read();
    for n in setting.sizes(&[500, 1000, 2000]) {
        let (x, y) = setting.clouds(n, 384);
        let y = y.slice(s![.., ..192]).to_owned();
        let points = |z: &Array2<f32>| Space::squared_euclidean(z.view()).unwrap().normalised();
        let (px, py) = (points(&x), points(&y));
        let (dx, dy) = (dense(&x), dense(&y));
        let matrix = |d: &Array2<f32>| Space::matrix(d.view()).unwrap();
        let solver = Gromov::entropic(0.005).iterations(10).tolerance(0.0);
        let p = uniform(n);
        let mut turns = Turns::default();
        for round in 0..=setting.rounds {
            let from_points = || solver.solve(&px, &py, &p, &p).unwrap();
            // What a matrix hides is looked for each time, as POT looks at its own each time.
            let from_matrices = || solver.solve(&matrix(&dx), &matrix(&dy), &p, &p).unwrap();
            from_points(); // the peer's process, too, runs once before it is timed
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
            turns.add("ours from points", time);
            turns.add("ours from matrices", time_dense);
            if setting.wants("pot_egw")
                && let Some((line, time)) = setting.peer("gw.py", &["--n", &n.to_string(), "--reps", "1"])
            {
                turns.add("POT", time);
                println!("  POT: value {} rows {}", line["gw_value_f64"], line["l1_err_rows"]);
            }
            turns.print();
        }
    }
}

/// Squared distances, the largest at one.
fn dense(z: &Array2<f32>) -> Array2<f32> {
    let z = z.mapv(f64::from);
    let norms: Vec<f64> = z.rows().into_iter().map(|r| r.dot(&r)).collect();
    let mut d = z.dot(&z.t()) * -2.0;
    d.indexed_iter_mut()
        .for_each(|((i, j), c)| *c = if i == j { 0.0 } else { (*c + norms[i] + norms[j]).max(0.0) });
    let top = d.iter().fold(0.0_f64, |t, v| t.max(*v));
    (d / top).mapv(|v| v as f32)
}
