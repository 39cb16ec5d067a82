//! Wasserstein-Procrustes: rows without a partner find it, and no row's place gives it away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_closed_form::ot_map::OtMapParams;
use chiasm_closed_form::{Conduct, Fitted, Method, Pairs};
use chiasm_geometry::random::Random;
use ndarray::Array2;
use serde_json::json;

/// A cloud with a different spread along each axis, and the same rows turned, with noise.
fn turned(n: usize, d: usize) -> (Array2<f32>, Array2<f32>) {
    let mut random = Random::new(5);
    let x = Array2::from_shape_fn((n, d), |(_, j)| (random.normal() / (1.0 + j as f64 / 3.0)) as f32);
    let basis = Array2::from_shape_simple_fn((d, d), || random.normal());
    let turn = chiasm_geometry::linalg::thin_svd(basis.view()).unwrap().u.mapv(|v| v as f32);
    let noise = Array2::from_shape_simple_fn((n, d), || 0.03 * random.normal() as f32);
    let y = x.dot(&turn) + noise;
    (x, y)
}

fn fit(x: &Array2<f32>, y: &Array2<f32>, parameters: serde_json::Value) -> Fitted<OtMapParams> {
    let parameters: OtMapParams = serde_json::from_value(parameters).unwrap();
    parameters.fit_pairs(Pairs::new(x.view(), y.view()).unwrap(), Conduct::default()).unwrap()
}

/// The share of rows whose nearest image of the other side is their partner's.
fn found(fitted: &Fitted<OtMapParams>, x: &Array2<f32>, y: &Array2<f32>) -> Option<f64> {
    let engine = common::engine()?;
    let a = common::run(engine, &fitted.source.graph("x").unwrap(), x);
    let b = common::run(engine, &fitted.target.graph("y").unwrap(), y);
    let scores = a.dot(&b.t());
    let own = |(i, row): (usize, ndarray::ArrayView1<'_, f32>)| row.iter().all(|score| *score <= row[i]);
    Some(scores.outer_iter().enumerate().filter(|at| own(*at)).count() as f64 / x.nrows() as f64)
}

/// Six pairs fix a rotation of ten dimensions badly; the plan of the other 294 rows mends it.
#[test]
fn rows_without_a_partner_find_it() {
    let (x, y) = turned(300, 10);
    let settings = |steps: usize| json!({ "pairs": 6, "dimensions": 10, "steps": steps });
    let Some(alone) = found(&fit(&x, &y, settings(0)), &x, &y) else { return };
    let helped = found(&fit(&x, &y, settings(20)), &x, &y).unwrap();
    assert!(helped > 0.9 && helped > alone + 0.2, "pairs alone {alone}, with all rows {helped}");
    let exact = json!({ "pairs": 6, "dimensions": 10, "steps": 20, "solver": "emd" });
    let exact = found(&fit(&x, &y, exact), &x, &y).unwrap();
    assert!(exact > 0.9, "by assignment {exact}");
}

/// Unequal groups in general position, turned: which group is which shows in their inner products alone.
#[test]
fn a_rotation_is_found_without_any_pair() {
    let mut random = Random::new(11);
    let centres = Array2::from_shape_simple_fn((12, 8), || random.normal());
    let x = Array2::from_shape_fn((360, 8), |(i, j)| (centres[[i % 12, j]] + 0.3 * random.normal()) as f32);
    let basis = Array2::from_shape_simple_fn((8, 8), || random.normal());
    let turn = chiasm_geometry::linalg::thin_svd(basis.view()).unwrap().u.mapv(|v| v as f32);
    let y = x.dot(&turn) + Array2::from_shape_simple_fn((360, 8), || 0.03 * random.normal() as f32);
    let settings = json!({ "pairs": 0, "dimensions": 8 });
    let Some(share) = found(&fit(&x, &y, settings), &x, &y) else { return };
    assert!(share > 0.8, "{share}");
}

#[test]
fn the_place_of_a_row_without_a_partner_says_nothing() {
    let (x, _) = turned(120, 6);
    let mut random = Random::new(9);
    let noise = Array2::from_shape_simple_fn((120, 6), || random.normal() as f32);
    let settings = json!({ "pairs": 0, "dimensions": 6 });
    let Some(share) = found(&fit(&x, &noise, settings), &x, &noise) else { return };
    assert!(share < 0.1, "nothing can be known of noise: {share}");
}

#[test]
fn what_was_chosen_gives_the_same_bits() {
    let (x, y) = turned(160, 8);
    for pairs in [20, 120, 160] {
        let first = fit(&x, &y, json!({ "pairs": pairs }));
        assert_eq!(first.report.is_some(), pairs > 100, "twenty pairs choose nothing");
        let again = fit(&x, &y, serde_json::to_value(&first.parameters).unwrap());
        let bytes = |fitted: &Fitted<OtMapParams>| fitted.source.graph("x").unwrap().to_bytes().unwrap();
        assert_eq!(bytes(&first), bytes(&again));
        assert!(again.report.is_none());
    }
}
