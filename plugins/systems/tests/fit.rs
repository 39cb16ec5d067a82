//! Every system is fitted, from its own parameters and from those of a recipe.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../mlp/tests/common/mod.rs"]
mod common;
mod scenes;

use chiasm_geometry::retrieval::Ranks;
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::{Aligner, Code, Json, Learned, Result, json};
use chiasm_systems::{Geometric, GeometryWarping, Gotma, HybridRiemannian, OtAlignMerge};
use common::{AlignData, TestHost, through};
use scenes::scenes;

const NAMES: [&str; 3] = ["image", "text", "sound"];

/// Parameters that make a fit short.
fn short() -> Json {
    json!({ "steps": 25, "hidden": 16, "batch": 128, "structure_rows": 66, "learning_rate": 3e-3 })
}

fn with(mut parameters: Json, more: &Json) -> Json {
    for (name, value) in more.as_object().unwrap() {
        parameters[name] = value.clone();
    }
    parameters
}

fn fit<A: Aligner>(items: &[Array2<f32>], parameters: &Json) -> Result<Learned> {
    let modalities: Vec<_> = NAMES.into_iter().zip(items).collect();
    AlignData::complete(&modalities).fit::<A>(&TestHost::new(4), parameters)
}

fn rsum(learned: &Learned, test: &[Array2<f32>]) -> f64 {
    let host = TestHost::new(4);
    let mapped: Vec<_> =
        learned.maps.iter().zip(test).map(|(map, items)| through(&host, map, items)).collect();
    Ranks::of_embeddings(mapped[0].view(), mapped[1].view()).unwrap().rsum()
}

/// Checks two modalities and three: the maps find partners at three times chance (12.8 of 600 for a gallery
/// of 250), the chosen parameters give the same bytes again and keep the weights as they were given, and each
/// of these weights matters.
fn check<A: Aligner>(parameters: &Json, weights: &[&str], inverses: bool) {
    let (items, test) = (scenes(400, 1), scenes(250, 2));
    let parameters = with(short(), parameters);
    let default = chiasm_plugin::Parameters::to_json(&A::Parameters::default());
    for count in [2, 3] {
        let learned = fit::<A>(&items[..count], &parameters).unwrap();
        let got = rsum(&learned, &test[..count]);
        assert!(got > 38.0, "{} with {count} modalities: rsum {got}; {}", A::ID, learned.notes);
        assert_eq!(learned.maps.len(), count);
        assert_eq!(learned.inverses[0].is_some(), inverses, "{}", A::ID);
        let bytes = learned.maps[0].to_bytes().unwrap();
        let again = fit::<A>(&items[..count], &learned.parameters).unwrap();
        assert!(bytes == again.maps[0].to_bytes().unwrap(), "{}", A::ID);
        for weight in weights {
            assert_eq!(learned.parameters[weight], default[weight], "{}", A::ID);
        }
        let weight = weights[count % weights.len()];
        let other = fit::<A>(&items[..count], &with(parameters.clone(), &json!({ weight: 7.0 }))).unwrap();
        assert!(bytes != other.maps[0].to_bytes().unwrap(), "{}: {weight} has no effect", A::ID);
    }
}

#[test]
fn geometric_is_fitted() {
    for geometry in ["ot", "neighbourhood", "distances"] {
        let parameters = json!({ "blend": 1.0, "members": 1, "geometry": geometry });
        check::<Geometric>(&parameters, &["lambda_ga"], false);
    }
}

#[test]
fn hybrid_riemannian_is_fitted() {
    let parameters = json!({ "blend": 1.0, "members": 1, "hidden": 0 });
    check::<HybridRiemannian>(&parameters, &["lambda_ot", "lambda_riemannian"], false);
}

#[test]
fn gotma_is_fitted() {
    let parameters = json!({ "blend": 1.0, "members": 1 });
    check::<Gotma>(&parameters, &["lambda_ot", "lambda_rc"], false);
    let parameters = with(parameters, &json!({ "steps": 10 }));
    check::<Gotma>(&parameters, &["lambda_ca", "lambda_cl"], false);
}

#[test]
fn ot_align_merge_is_fitted() {
    let parameters = json!({ "blend": 1.0, "members": 1 });
    check::<OtAlignMerge>(&parameters, &["lambda_ot", "lambda_rec"], true);
}

#[test]
fn geometry_warping_is_fitted() {
    check::<GeometryWarping>(&json!({ "train": true }), &["lambda_inj", "lambda_smooth"], true);
}

#[test]
fn a_term_of_the_recipe_comes_before_that_of_the_system() {
    let items = scenes(300, 3);
    let parameters = with(short(), &json!({ "blend": 1.0, "members": 1, "terms": { "ot": 0.0 } }));
    let without = fit::<Geometric>(&items[..2], &parameters).unwrap();
    let zero = with(short(), &json!({ "blend": 1.0, "members": 1, "lambda_ga": 0.0 }));
    let zero = fit::<Geometric>(&items[..2], &zero).unwrap();
    assert_eq!(without.maps[0].to_bytes().unwrap(), zero.maps[0].to_bytes().unwrap());
}

#[test]
fn parameters_are_listed_and_checked() {
    chiasm_kit::testing::check_parameters::<Geometric>();
    chiasm_kit::testing::check_parameters::<HybridRiemannian>();
    chiasm_kit::testing::check_parameters::<Gotma>();
    chiasm_kit::testing::check_parameters::<OtAlignMerge>();
    chiasm_kit::testing::check_parameters::<GeometryWarping>();
    let items = scenes(60, 4);
    for (parameters, word) in [
        (json!({ "lambda_ga": -1.0 }), "`lambda_ga`"),
        (json!({ "geometry": "sphere" }), "sphere"),
        (json!({ "epsilon": 0.0 }), "`epsilon`"),
        (json!({ "geometry": "neighbourhood", "k": 64, "blend": 1.0 }), "`k`: expected fewer neighbours"),
    ] {
        let refusal = fit::<Geometric>(&items[..2], &parameters).unwrap_err();
        assert_eq!(refusal.code(), Code::INVALID, "{parameters}: {refusal}");
        assert!(refusal.message().contains(word), "{parameters}: {refusal}");
    }
}
