//! The maps, run by the engine, against SciPy and scikit-learn (see reference/make.py).
//!
//! Compared are the cosines of held-out pairs. Tolerance 2e-5: the graphs are of single precision and the widest
//! amplification in these cases is about 100.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

mod common;

use chiasm_closed_form::{Conduct, Method, Pairs};
use chiasm_closed_form::{
    cca::CcaParams, kcca::KccaParams, procrustes::ProcrustesParams, ridge::RidgeParams,
};
use ndarray::{Array2, Axis, Slice};
use serde_json::{Value, json};

fn cases() -> Value {
    serde_json::from_str(include_str!("reference/cases.json")).unwrap()
}

fn array(value: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

/// Cosines of the held-out rows of a method fitted with fixed parameters.
fn check<P: Method>(expected: &str, parameters: Value) {
    let Some(engine) = common::engine() else { return };
    let cases = cases();
    let train = cases["train"].as_u64().unwrap() as usize;
    let (x, y) = (array(&cases["x"]), array(&cases["y"]));
    let part = |rows: &Array2<f32>, at: Slice| rows.slice_axis(Axis(0), at).to_owned();
    let (xt, yt) = (part(&x, Slice::from(..train)), part(&y, Slice::from(..train)));
    let parameters: P = serde_json::from_value(parameters).unwrap();
    let fitted = parameters.fit_pairs(Pairs::new(xt.view(), yt.view()).unwrap(), Conduct::default()).unwrap();
    assert!(fitted.report.is_none(), "everything was given, so nothing may be searched");
    let a = common::run(engine, &fitted.source.graph("x").unwrap(), &part(&x, Slice::from(train..)));
    let b = common::run(engine, &fitted.target.graph("y").unwrap(), &part(&y, Slice::from(train..)));
    let off = common::gap(&a.dot(&b.t()), &array(&cases[expected]));
    assert!(off < 2e-5, "{expected}: cosines differ by up to {off}");
}

fn plain(rest: Value) -> Value {
    let mut out = json!({ "source_curve": "unit", "target_curve": "unit" });
    out.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    out
}

fn settings() -> Value {
    let one = |source_ridge: f64, target_ridge: f64, dimensions: usize, power: f64| json!({ "source_ridge": source_ridge, "target_ridge": target_ridge, "dimensions": dimensions, "power": power });
    json!([one(0.1, 0.03, 4, 1.0), one(0.1, 0.03, 5, 0.5), one(0.3, 0.2, 5, 1.5)])
}

#[test]
fn cca_without_a_ridge_is_the_textbook_one() {
    let given = json!({ "source_ridge": 0.0, "target_ridge": 0.0, "dimensions": 4, "power": 1.0 });
    check::<CcaParams>("cca", plain(given));
}

#[test]
fn the_signed_root_comes_first() {
    let given = json!({
        "source_curve": "signed-root", "target_curve": "unit",
        "source_ridge": 0.0, "target_ridge": 0.0, "dimensions": 3, "power": 0.5
    });
    check::<CcaParams>("cca_root", given);
}

#[test]
fn joined_settings_are_the_mean_of_their_forms() {
    check::<CcaParams>("cca_joined", plain(json!({ "settings": settings() })));
}

#[test]
fn kernel_cca_is_cca_on_centred_kernels() {
    let given = json!({ "source_widths": [0.7], "target_widths": [1.0, 0.5], "settings": settings() });
    check::<KccaParams>("kcca", plain(given));
}

#[test]
fn procrustes_is_scipys() {
    check::<ProcrustesParams>("procrustes", plain(json!({ "dimensions": 5 })));
}

#[test]
fn ridge_is_scikit_learns_in_both_directions() {
    check::<RidgeParams>("ridge", plain(json!({ "direction": "source-to-target", "ridge": 0.07 })));
    check::<RidgeParams>("ridge_back", plain(json!({ "direction": "target-to-source", "ridge": 0.2 })));
}
