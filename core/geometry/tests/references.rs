//! Ranks and decompositions compared with SciPy and NumPy (see reference/make.py).
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

use chiasm_geometry::linalg::{product, symmetric_eigen, thin_svd};
use chiasm_geometry::retrieval::{Rank, Ranks, RetrievalScores};
use ndarray::Array2;
use serde_json::Value;

fn cases() -> Value {
    serde_json::from_str(include_str!("reference/cases.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

/// Best and worst ranks are counts and must be equal.
#[test]
fn ranks_with_ties_agree_with_scipy() {
    let cases = cases();
    let scores = matrix(&cases["scores"]).mapv(|s| s as f32);
    let ranks = Ranks::of_scores(scores.view()).unwrap();
    let known = |name: &str| -> Vec<Rank> {
        let ends: Vec<[usize; 2]> = serde_json::from_value(cases[name].clone()).unwrap();
        ends.into_iter().map(|[best, worst]| Rank::single(best, worst - best)).collect()
    };
    assert_eq!(ranks.forward, known("forward"));
    assert_eq!(ranks.backward, known("backward"));
    let figures = RetrievalScores::of_ranks(&ranks.forward);
    // The tolerance allows for sums of a few dozen fractions.
    assert!((ranks.rsum() - cases["rsum"].as_f64().unwrap()).abs() < 1e-9);
    assert!((figures.mrr - cases["mrr"].as_f64().unwrap()).abs() < 1e-9);
    assert_eq!(figures.median_rank, cases["median_rank"].as_f64().unwrap());
}

/// Well conditioned matrices of order one: 1e-12 leaves four digits of double precision.
#[test]
fn decompositions_agree_with_numpy() {
    let cases = cases();
    let a = matrix(&cases["matrix"]);
    let close = |got: &ndarray::Array1<f64>, expected: &Value| {
        got.iter().zip(numbers(expected)).all(|(x, y)| (x - y).abs() < 1e-12)
    };
    assert!(close(&thin_svd(a.view()).unwrap().s, &cases["singular"]));
    let gram = product(&a.t(), &a).unwrap();
    assert!(close(&symmetric_eigen(gram.view()).unwrap().values, &cases["eigen"]));
}
