//! Measures and transport solvers on many generated inputs, against NumPy, SciPy, scikit-learn and POT in
//! double precision: every value equals its reference, is refused, or comes with a warning.
//!
//! `sweep/sweep.py` makes the inputs and the references, in one process, those of POT in `sweep/solvers.py`.
//! They vary in shape, scale (1e-20 to 1e20), offset, precision, far rows, distant clusters, duplicates,
//! ties, constant columns, zero weights and forbidden entries. `cargo xtask sweep [CASES]` runs 5,000 cases,
//! the tests run 250.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its case has failed")]

use chiasm_geometry::measure::{MeasureOptions, measure};
use chiasm_geometry::squared_distances;
use chiasm_transport::{Cost, Error, Sinkhorn, SolverLimits, StopReason, exact};
use ndarray::{Array2, ArrayView2};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

#[path = "sweep/solvers.rs"]
mod solvers;

/// Values that were equal, refused or warned of, and the largest error in units of the tolerance.
#[derive(Default)]
struct Tally {
    equal: usize,
    refused: usize,
    warned: usize,
    worst: f64,
}

#[derive(Default)]
struct Sweep {
    tallies: BTreeMap<String, Tally>,
    wrong: Vec<String>,
}

/// What a call returned for one value.
pub enum Outcome {
    /// The value.
    Value(f64),
    /// An error.
    Refused,
    /// A value that came with a warning.
    Warned,
}

impl Sweep {
    /// Compares an outcome with `[value, absolute tolerance, relative tolerance]`, or with an upper bound
    /// where `"most"` follows.
    fn judge(&mut self, key: &str, place: &str, outcome: &Outcome, expected: &Value) {
        let [want, absolute, relative] = [0, 1, 2].map(|i| expected[i].as_f64().unwrap());
        let tally = self.tallies.entry(key.to_owned()).or_default();
        match outcome {
            Outcome::Refused => tally.refused += 1,
            Outcome::Warned => tally.warned += 1,
            Outcome::Value(got) => {
                let allowed = absolute + relative * want.abs();
                let apart = if expected[3] == "most" { (got - want).max(0.0) } else { (got - want).abs() };
                let apart = if got.is_nan() { f64::NAN } else { apart };
                let error = apart / allowed.max(f64::MIN_POSITIVE);
                tally.equal += 1;
                tally.worst = tally.worst.max(error);
                if error.is_nan() || error > 1.0 {
                    let expected = format!("expected {want:e} within {allowed:.1e}");
                    self.wrong.push(format!("{place}: {key} is {got:e}, {expected}"));
                }
            }
        }
    }
}

/// Reads doubles as a matrix.
fn matrix(source: &mut impl Read, rows: usize, columns: usize) -> Array2<f64> {
    let mut bytes = vec![0; rows * columns * 8];
    source.read_exact(&mut bytes).unwrap();
    let values = bytes.chunks(8).map(|v| f64::from_le_bytes(v.try_into().unwrap())).collect();
    Array2::from_shape_vec((rows, columns), values).unwrap()
}

/// Measures two clouds, in the precision that they are exact in.
fn measured(case: &Value, x: &Array2<f64>, y: &Array2<f64>) -> BTreeMap<String, Outcome> {
    let keys: Vec<&String> = case["expect"].as_object().unwrap().keys().collect();
    let options = MeasureOptions::new().k(case["k"].as_u64().unwrap() as usize).only(keys.iter().copied());
    let report = if case["single"] == true {
        let narrow = |z: &Array2<f64>| z.mapv(|v| v as f32);
        measure(narrow(x).view(), narrow(y).view(), &options, &|_, _, _| {})
    } else {
        measure(x.view(), y.view(), &options, &|_, _, _| {})
    };
    let outcome = |key: &String| match &report {
        Ok(report) => report.measures.get(key).map_or(Outcome::Refused, |found| Outcome::Value(found.value)),
        Err(_) => Outcome::Refused,
    };
    keys.into_iter().map(|key| (key.clone(), outcome(key))).collect()
}

fn exactly(cost: ArrayView2<'_, f64>, a: &[f64], b: &[f64]) -> Result<Outcome, Error> {
    let found = exact(cost, a, b, &SolverLimits::new(100_000))?;
    let size: f64 = found.entries.iter().map(|e| e.mass * cost[[e.source, e.target]].abs()).sum();
    if found.stop != StopReason::Converged {
        return Ok(Outcome::Warned);
    }
    // A gap beyond the tolerance must not be called converged: NaN counts as wrong.
    let proven = found.gap.abs() <= 1e-9 * size;
    Ok(Outcome::Value(if proven { found.transport_cost } else { f64::NAN }))
}

fn entropic(x: &Array2<f64>, y: &Array2<f64>, a: &[f64], b: &[f64], eps: f64) -> Result<Outcome, Error> {
    let cost = Cost::squared_euclidean(x.view(), y.view())?;
    let report = Sinkhorn::new(eps).solve(&cost, a, b)?.report;
    let warned = report.stop != StopReason::Converged || report.rounding > 1e-3;
    Ok(if warned { Outcome::Warned } else { Outcome::Value(report.transport_cost) })
}

fn refused(outcome: Result<Outcome, Error>) -> Outcome {
    outcome.unwrap_or(Outcome::Refused)
}

#[test]
fn no_value_is_silently_wrong() {
    let count: usize = std::env::var("CHIASM_SWEEP").map_or(250, |cases| cases.parse().unwrap());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sweep/sweep.py");
    let seed = std::env::var("CHIASM_SWEEP_SEED").unwrap_or_else(|_| "0".to_owned());
    let arguments = [script, &count.to_string(), &seed];
    let mut process =
        Command::new(chiasm_testing::peers()).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut source = BufReader::new(process.stdout.take().unwrap());
    let mut sweep = Sweep::default();
    for number in 0..count {
        let mut line = String::new();
        source.read_line(&mut line).unwrap();
        let case: Value = serde_json::from_str(&line).unwrap();
        let [n, m, d] = ["n", "m", "d"].map(|key| case[key].as_u64().unwrap() as usize);
        let (x, y) = (matrix(&mut source, n, d), matrix(&mut source, m, d));
        let a = matrix(&mut source, n, 1).into_raw_vec_and_offset().0;
        let b = matrix(&mut source, m, 1).into_raw_vec_and_offset().0;
        let costs = (case["costs"] == true).then(|| matrix(&mut source, n, m));
        let place = format!("case {number} ({} {} {n} x {m} x {d})", case["case"], case["kind"]);
        let expect = &case["expect"];
        match case["case"].as_str().unwrap() {
            "measures" => {
                for (key, outcome) in measured(&case, &x, &y) {
                    sweep.judge(&key, &place, &outcome, &expect[&key]);
                }
            }
            "transport" => {
                let cost = squared_distances(x.view(), y.view()).unwrap();
                sweep.judge("emd", &place, &refused(exactly(cost.view(), &a, &b)), &expect["emd"]);
                if !expect["sinkhorn"].is_null() {
                    let eps = case["eps"].as_f64().unwrap();
                    sweep.judge(
                        "sinkhorn",
                        &place,
                        &refused(entropic(&x, &y, &a, &b, eps)),
                        &expect["sinkhorn"],
                    );
                }
            }
            "forbidden" => {
                let found = exactly(costs.unwrap().view(), &a, &b);
                if case["possible"] == true {
                    assert!(found.is_ok(), "{place}: a plan exists");
                    sweep.judge("emd, forbidden", &place, &refused(found), &expect["emd"]);
                } else if case["infinite"] == true {
                    let message = found.err().map(|error| error.to_string()).unwrap_or_default();
                    assert!(message.contains("no plan avoids the forbidden entries"), "{place}: {message}");
                }
            }
            _ => {
                let problem = solvers::Problem { case: &case, x: &x, y: &y, a: &a, b: &b, costs };
                for (key, outcome) in problem.solve().unwrap() {
                    sweep.judge(key, &place, &outcome, &expect[key]);
                }
            }
        }
    }
    assert!(process.wait().unwrap().success());
    report(&sweep, count);
}

#[expect(clippy::print_stdout, reason = "the table of the sweep")]
fn report(sweep: &Sweep, count: usize) {
    let header = ["value", "equal", "refused", "warned"];
    println!(
        "{count} cases\n{:<26} {:>7} {:>8} {:>7}  worst error / tolerance",
        header[0], header[1], header[2], header[3]
    );
    for (key, tally) in &sweep.tallies {
        println!("{key:<26} {:>7} {:>8} {:>7}  {:.3}", tally.equal, tally.refused, tally.warned, tally.worst);
    }
    if !sweep.wrong.is_empty() {
        let shown: Vec<&str> = sweep.wrong.iter().take(60).map(String::as_str).collect();
        panic!("{} values are silently wrong:\n{}", sweep.wrong.len(), shown.join("\n"));
    }
    // Nearly everything is computed: refusing is not a way to pass.
    for (key, tally) in &sweep.tallies {
        let all = tally.equal + tally.refused + tally.warned;
        assert!(all < 20 || tally.equal * 4 >= all * 3, "{key}: {} of {all} computed", tally.equal);
    }
}
