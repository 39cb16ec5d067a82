//! Identifiability compared with SciPy and scikit-learn (reference/make_identifiability.py).
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

use chiasm_geometry::identifiability::{Probe, factor_r2, held_out_predictions, mean_correlation};
use ndarray::Array2;
use serde_json::Value;

fn cases() -> Value {
    serde_json::from_str(include_str!("reference/identifiability.json")).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn close(found: impl IntoIterator<Item = f64>, expected: &Value, tolerance: f64) {
    let expected: Vec<f64> = serde_json::from_value(expected.clone()).unwrap();
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < tolerance, "{found:?}, expected {expected:?}");
}

/// The tolerance allows for sums of 60 numbers in another order.
#[test]
fn the_mean_correlation_agrees_with_scipy() {
    let c = cases();
    let found = mean_correlation(matrix(&c["truth"]).view(), matrix(&c["found"]).view()).unwrap();
    close([found.mcc], &serde_json::json!([c["mcc"]]), 1e-12);
    close(found.correlations, &c["correlations"], 1e-12);
    close(found.components.iter().map(|k| k.unwrap() as f64), &c["components"], 1e-12);
}

/// Decompositions of 48 rows with penalties down to 48e-6 keep about ten digits, hence 1e-8.
#[test]
fn the_probes_agree_with_scikit_learn() {
    let c = cases();
    let (truth, found) = (matrix(&c["truth"]), matrix(&c["found"]));
    let folds: Vec<usize> = (0..truth.nrows()).map(|row| row % 5).collect();
    for (name, probe) in [("linear", Probe::Linear), ("kernel", Probe::Kernel)] {
        let guess = held_out_predictions(truth.view(), found.view(), &folds, probe).unwrap();
        let expected = matrix(&c[name]);
        assert!((&guess - &expected).iter().all(|d| d.abs() < 1e-8), "{name}");
        close(factor_r2(truth.view(), guess.view()).unwrap(), &c[&format!("{name}_r2")], 1e-8);
    }
}
