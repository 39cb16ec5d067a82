//! Compares the maps, run by the engine, with SciPy and scikit-learn (see reference/make.py).
//!
//! The cosines of held-out pairs are compared. Tolerance 2e-5: the graphs are of single precision and the
//! widest amplification in these cases is about 100.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

mod common;

use chiasm_closed_form::Method;
use chiasm_closed_form::{
    cca::CcaParams, kcca::KccaParams, procrustes::ProcrustesParams, ridge::RidgeParams,
};
use common::{array, cases};
use ndarray::{Array2, Axis, Slice};
use serde_json::{Value, json};

/// Cosines of the held-out rows of a method fitted with fixed parameters.
fn check<P: Method>(expected: &str, parameters: Value) {
    let Some(engine) = common::engine() else { return };
    let cases = cases();
    let train = cases["train"].as_u64().unwrap() as usize;
    let (x, y) = (array(&cases["x"]), array(&cases["y"]));
    let part = |rows: &Array2<f32>, at: Slice| rows.slice_axis(Axis(0), at).to_owned();
    let (xt, yt) = (part(&x, Slice::from(..train)), part(&y, Slice::from(..train)));
    let fitted = common::fit::<P>(&xt, &yt, parameters).unwrap();
    assert!(fitted.report.is_none(), "everything was given, so nothing may be searched");
    let a = common::run(engine, &fitted.maps[0].graph().unwrap(), &part(&x, Slice::from(train..)));
    let b = common::run(engine, &fitted.maps[1].graph().unwrap(), &part(&y, Slice::from(train..)));
    let off = common::gap(&a.dot(&b.t()), &array(&cases[expected]));
    assert!(off < 2e-5, "{expected}: cosines differ by up to {off}");
}

fn plain(rest: Value) -> Value {
    let mut out = json!({ "curve": "unit" });
    out.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    out
}

fn by_name(first: impl Into<Value>, second: impl Into<Value>) -> Value {
    json!({ "first": first.into(), "second": second.into() })
}

fn setting(first: f64, second: f64, dimensions: usize, power: f64) -> Value {
    json!({ "ridge": by_name(first, second), "dimensions": dimensions, "power": power })
}

fn settings() -> Value {
    json!([setting(0.1, 0.03, 4, 1.0), setting(0.1, 0.03, 5, 0.5), setting(0.3, 0.2, 5, 1.5)])
}

#[test]
fn cca_without_a_ridge_equals_textbook_cca() {
    let given = json!({ "ridge": 0.0, "dimensions": 4, "power": 1.0 });
    check::<CcaParams>("cca", plain(given));
}

#[test]
fn the_signed_root_comes_first() {
    let given = json!({
        "curve": by_name("signed-root", "unit"), "ridge": 0.0, "dimensions": 3, "power": 0.5
    });
    check::<CcaParams>("cca_root", given);
}

#[test]
fn joined_settings_are_the_mean_of_their_forms() {
    check::<CcaParams>("cca_joined", plain(json!({ "settings": settings() })));
}

#[test]
fn kernel_cca_is_cca_on_centred_kernels() {
    let given = json!({ "widths": by_name(vec![0.7], vec![1.0, 0.5]), "settings": settings() });
    check::<KccaParams>("kcca", plain(given));
}

#[test]
fn procrustes_equals_scipy() {
    check::<ProcrustesParams>("procrustes", plain(json!({ "dimensions": 5 })));
}

#[test]
fn ridge_equals_scikit_learn_in_both_directions() {
    check::<RidgeParams>("ridge", plain(json!({ "onto": "second", "ridge": 0.07 })));
    check::<RidgeParams>("ridge_back", plain(json!({ "onto": "first", "ridge": 0.2 })));
}

/// MAXVAR of three modalities with rows that lack some; `apart` has none with the first and the third.
#[test]
fn cca_of_three_modalities_is_maxvar_also_with_missing_rows() {
    let Some(engine) = common::engine() else { return };
    let case = &cases()["three"];
    let train = case["train"].as_u64().unwrap() as usize;
    let items: Vec<Array2<f32>> = case["items"].as_array().unwrap().iter().map(array).collect();
    let names = ["image", "text", "sound"];
    let ridges = |[image, text, sound]: [f64; 3]| json!({ "image": image, "text": text, "sound": sound });
    let one = json!({ "ridge": ridges([0.1, 0.03, 0.2]), "dimensions": 4, "power": 1.0 });
    let other = json!({ "ridge": ridges([0.3, 0.1, 0.1]), "dimensions": 5, "power": 0.5 });
    for rows in ["complete", "missing", "apart"] {
        let kept: Vec<Vec<usize>> = serde_json::from_value(case[rows]["rows"].clone()).unwrap();
        let clouds: Vec<common::TestModality> =
            (0..3).map(|at| (names[at], items[at].select(Axis(0), &kept[at]), kept[at].clone())).collect();
        for (expected, settings) in [("one", json!([one])), ("joined", json!([one, other]))] {
            let given = json!({ "curve": "unit", "settings": settings });
            let fitted = common::fit_views::<CcaParams>(&common::views(&clouds, None), given).unwrap();
            let images: Vec<Array2<f32>> = (0..3)
                .map(|at| {
                    let test = items[at].slice_axis(Axis(0), Slice::from(train..)).to_owned();
                    common::run(engine, &fitted.maps[at].graph().unwrap(), &test)
                })
                .collect();
            for (at, (a, b)) in [(0, 1), (0, 2), (1, 2)].into_iter().enumerate() {
                let off = common::gap(&images[a].dot(&images[b].t()), &array(&case[rows][expected][at]));
                assert!(off < 2e-5, "{rows}, {expected}, {a} and {b}: cosines differ by up to {off}");
            }
        }
    }
}

/// One to three items a row are as good as explicit weights on the pairs of a row.
#[test]
fn several_items_of_a_row_are_weighted_pairs() {
    let Some(engine) = common::engine() else { return };
    let case = &cases()["several"];
    let (first, second) = (array(&case["first"]), array(&case["second"]));
    let rows: Vec<usize> = serde_json::from_value(case["rows"].clone()).unwrap();
    let train = case["train"].as_u64().unwrap() as usize;
    let clouds: Vec<common::TestModality> =
        vec![("first", first, (0..52).collect()), ("second", second, rows)];
    let fitted_on: Vec<common::TestModality> =
        clouds.iter().map(|cloud| common::part(cloud, |row| row < train)).collect();
    let given = json!({ "curve": "unit", "ridge": 0.0, "dimensions": 4, "power": 1.0 });
    let fitted = common::fit_views::<CcaParams>(&common::views(&fitted_on, None), given).unwrap();
    let image = |at: usize| {
        let test = common::part(&clouds[at], |row| row >= train).1;
        common::run(engine, &fitted.maps[at].graph().unwrap(), &test)
    };
    let off = common::gap(&image(0).dot(&image(1).t()), &array(&case["cca"]));
    assert!(off < 2e-5, "cosines differ by up to {off}");
}
