//! Fits with a known answer, in a real engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../mlp/tests/common/mod.rs"]
mod common;

use chiasm_cycle::Cycle;
use chiasm_plugin::ndarray::{Array2, Axis};
use chiasm_plugin::{Aligner, Code, Inputs, Json, Learned, Result, Services, json};
use common::{Bench, through};

fn fit(bench: &Bench, x: &Array2<f32>, y: &Array2<f32>, parameters: &Json) -> Result<Learned> {
    let data = Inputs::of(&[("source.pooled", x.view()), ("target.pooled", y.view())]);
    Cycle::fit(&data, parameters, &Services::of(bench))
}

/// A normal number of this row and column, the same on every machine to rounding.
fn normal(row: usize, column: usize, stream: u64) -> f64 {
    let mut random = chiasm_geometry::random::Random::new(stream + 1_000_003 * row as u64 + column as u64);
    random.next_u64();
    random.normal()
}

/// Twelve source columns; the target is a noisy function of the first four, in ten columns: a ridge pair loses the other eight
/// on the way, though the target's space has room for them.
fn world(rows: usize, stream: u64) -> [Array2<f32>; 2] {
    let x = Array2::from_shape_fn((rows, 12), |(i, j)| normal(i, j, stream));
    let mixing =
        Array2::from_shape_fn((12, 10), |(i, j)| if i < 4 { ((i * 10 + j) as f64 * 1.7).sin() } else { 0.0 });
    let y = x.dot(&mixing) + Array2::from_shape_fn((rows, 10), |(i, j)| 0.3 * normal(i, 50 + j, stream));
    [x.mapv(|v| v as f32), y.mapv(|v| v as f32)]
}

/// Mean of 1 - cos² of centred rows and their round trips: the share of the variance lost.
fn lost(bench: &Bench, learned: &Learned, x: &Array2<f32>) -> f64 {
    let inverse = &learned.inverse.as_ref().unwrap().graph;
    let back = through(bench, inverse, &through(bench, &learned.source, x));
    let share = |(got, row): (
        chiasm_plugin::ndarray::ArrayView1<'_, f32>,
        chiasm_plugin::ndarray::ArrayView1<'_, f32>,
    )| { 1.0 - f64::from(got.dot(&row).powi(2) / (got.dot(&got) * row.dot(&row))) };
    back.axis_iter(Axis(0)).zip(x.axis_iter(Axis(0))).map(share).sum::<f64>() / x.nrows() as f64
}

/// With room in the target's space, the trained pair must bring back much that the ridge pair cannot, and find as well.
#[test]
fn the_trained_pair_comes_back_better_than_the_ridge_pair() {
    let bench = Bench::new(2);
    let ([x, y], [tx, _]) = (world(600, 1), world(200, 77));
    let parameters = json!({ "hidden": 32, "steps": 400, "batch": 128, "learning_rate": 3e-3 });
    let learned = fit(&bench, &x, &y, &parameters).unwrap();
    let held = &learned.notes["held_out"];
    assert_eq!(learned.notes["trained"], true, "{held}");
    let mut ridge = learned.parameters.clone();
    ridge["train"] = json!(false);
    let (trained, ridge) =
        (lost(&bench, &learned, &tx), lost(&bench, &fit(&bench, &x, &y, &ridge).unwrap(), &tx));
    assert!(trained < 0.9 * ridge, "lost {trained} after training, {ridge} before: {held}");
    let said = held["verdict"].as_str().unwrap();
    assert!(said.ends_with("and is delivered"), "{said}");
    assert!(held["against_closed_forms"].as_str().unwrap().contains("the trained pair"), "{held}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_what_was_chosen_gives_them_again() {
    let [x, y] = world(80, 3);
    let parameters = json!({ "train": true, "steps": 10, "hidden": 8, "batch": 32 });
    let bytes = |seed, parameters: &Json| {
        let learned = fit(&Bench::new(seed), &x, &y, parameters).unwrap();
        (learned.source.to_bytes().unwrap(), learned.parameters)
    };
    let (first, chosen) = bytes(1, &parameters);
    assert_eq!(first, bytes(1, &parameters).0);
    assert_eq!(first, bytes(1, &chosen).0);
    assert_ne!(first, bytes(2, &parameters).0);
}

/// A smoother map is what a heavier penalty buys: the Jacobian's mean square, which training reports, falls.
#[test]
fn the_penalty_on_the_jacobian_is_felt() {
    let [x, y] = world(300, 4);
    let spread = |smoothness: f64| {
        let parameters = json!({ "train": true, "steps": 150, "hidden": 16, "batch": 128, "smoothness": smoothness, "learning_rate": 3e-3 });
        let bench = Bench::new(1);
        let learned = fit(&bench, &x, &y, &parameters).unwrap();
        let back = learned.inverse.unwrap().graph;
        // near images, far rows: the way back is rough
        let z = through(&bench, &learned.target, &y);
        let near = &z + &Array2::from_shape_fn(z.dim(), |(i, j)| 1e-2 * normal(i, j, 9) as f32);
        let step = through(&bench, &back, &near) - through(&bench, &back, &z);
        step.iter().map(|d| f64::from(d * d)).sum::<f64>()
    };
    let (rough, smooth) = (spread(0.0), spread(1.0));
    assert!(smooth < 0.9 * rough, "{smooth} with the penalty, {rough} without");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let bench = Bench::new(1);
    let [x, y] = world(60, 4);
    for (parameters, word) in [
        (json!({ "cycle": -1.0 }), "`cycle`"),
        (json!({ "margin": 1e9 }), "`margin`"),
        (json!({ "ridges": [0.1, 0.0] }), "`ridges`"),
        (json!({ "source_curve": "bent" }), "bent"),
        (json!({ "steps": 0 }), "`steps`"),
    ] {
        let refusal = fit(&bench, &x, &y, &parameters).unwrap_err();
        assert_eq!(refusal.code(), Code::INVALID, "{parameters}: {refusal}");
        assert!(refusal.message().contains(word), "{parameters}: {refusal}");
    }
    let refusal = fit(&bench, &x, &y, &json!({ "no such key": 1 })).unwrap_err();
    for parameter in Cycle::parameters() {
        assert!(refusal.message().contains(&format!("`{}`", parameter.name)), "{refusal}");
    }
    assert_eq!(refusal.message().matches('`').count() / 2 - 1, Cycle::parameters().len(), "{refusal}");
}
