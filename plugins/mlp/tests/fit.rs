//! Fits with a known answer, in a real engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_geometry::random::Random;
use chiasm_geometry::retrieval::Ranks;
use chiasm_mlp::MlpAligner;
use chiasm_plugin::ndarray::Array2;
use chiasm_plugin::{Code, InverseKind, Json, Learned, Result, json};
use common::{AlignData, TestHost, through};

fn fit(host: &TestHost, x: &Array2<f32>, y: &Array2<f32>, parameters: &Json) -> Result<Learned> {
    AlignData::complete(&[("image", x), ("text", y)]).fit::<MlpAligner>(host, parameters)
}

fn rsum(host: &TestHost, learned: &Learned, x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    let images = [through(host, &learned.maps[0], x), through(host, &learned.maps[1], y)];
    Ranks::of_embeddings(images[0].view(), images[1].view()).unwrap().rsum()
}

/// Two angles; the first modality holds their first harmonics, the second their second and third. Different
/// harmonics do not correlate, so no linear map can tell which rows belong together, though either modality
/// fixes both angles.
fn harmonics(rows: usize, seed: u64) -> [Array2<f32>; 2] {
    let mut random = Random::new(seed);
    let (mut x, mut y) = (Array2::zeros((rows, 4)), Array2::zeros((rows, 8)));
    for row in 0..rows {
        for angle in 0..2 {
            let t = std::f64::consts::TAU * random.uniform();
            for (column, harmonic) in [(0, 1.0), (0, 2.0), (2, 3.0)].into_iter().enumerate() {
                let (at, harmonic): (usize, f64) = harmonic;
                let side = if column == 0 { &mut x } else { &mut y };
                let first = if column == 0 { 2 * angle } else { 4 * angle + at };
                side[[row, first]] = (harmonic * t).cos() as f32;
                side[[row, first + 1]] = (harmonic * t).sin() as f32;
            }
        }
    }
    [x, y]
}

/// A noisy linear world.
fn linear(rows: usize, seed: u64) -> [Array2<f32>; 2] {
    let mut random = Random::new(seed);
    let mut draw = |columns| Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32);
    let (x, noise) = (draw(6), draw(5));
    let mixing = Array2::from_shape_fn((6, 5), |(i, j)| ((i * 5 + j) as f32 * 1.7).sin());
    let y = x.dot(&mixing) + noise * 0.3;
    [x, y]
}

/// Chance is 10.7 of 600 for a gallery of 300. The MLP reaches about 500; half of that is beyond any linear
/// map by far.
#[test]
fn a_coupling_without_any_correlation_is_learned() {
    let host = TestHost::new(5);
    let ([x, y], [tx, ty]) = (harmonics(2000, 1), harmonics(300, 2));
    let parameters = json!({
        "hidden": 128, "members": 1, "steps": 500, "batch": 256, "learning_rate": 5e-3, "dropout": 0.0,
        "noise": 1e-4, "tau": 0.1,
    });
    let learned = fit(&host, &x, &y, &parameters).unwrap();
    let (got, start) = {
        let mut start = learned.parameters.clone();
        start["blend"] = json!(0.0);
        (rsum(&host, &learned, &tx, &ty), rsum(&host, &fit(&host, &x, &y, &start).unwrap(), &tx, &ty))
    };
    assert!(start < 60.0, "the world is linear after all: {start}");
    assert!(got > 250.0, "{got}; {}", learned.notes);
    let verdict = learned.notes["held_out"]["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("the MLP beats every closed form here"), "{verdict}");
    assert_eq!(host.messages.lock().unwrap()[0], verdict, "the user is told");
}

#[test]
fn the_notes_compare_with_the_closed_forms_and_the_result_is_never_worse_than_its_start() {
    let host = TestHost::new(3);
    let [x, y] = linear(200, 1);
    let small = json!({ "members": 1, "steps": 20, "hidden": 16 });
    let learned = fit(&host, &x, &y, &small).unwrap();
    let held = &learned.notes["held_out"];
    let maps = held["comparison"]["maps"].as_array().unwrap();
    let names: Vec<&str> = maps.iter().map(|map| map["map"].as_str().unwrap()).collect();
    assert_eq!(names, ["mean-vector", "procrustes", "ridge", "cca", "mlp, blend 0.5", "mlp, blend 1"]);
    let reached = |name: &str| maps.iter().find(|m| m["map"] == name).unwrap()["rsum"].as_f64().unwrap();
    let result = match learned.notes["blend"].as_f64().unwrap() {
        0.0 => reached("cca"),
        blend => reached(&format!("mlp, blend {blend}")),
    };
    assert!(result >= reached("cca"), "{held}");
    let best = ["mean-vector", "procrustes", "ridge", "cca"].map(reached).into_iter().fold(0.0, f64::max);
    let won = reached("mlp, blend 0.5").max(reached("mlp, blend 1")) > best;
    let verdict = held["verdict"].as_str().unwrap();
    assert_eq!(verdict.contains("does not beat"), !won, "{verdict}");
}

#[test]
fn the_same_seed_and_the_chosen_parameters_give_the_same_bytes() {
    let [x, y] = linear(120, 2);
    let parameters = json!({ "members": 2, "steps": 12, "hidden": 8, "batch": 32, "blend": 0.5,
        "terms": { "siglip": 1.0, "infonce": 0.0 } });
    let bytes = |seed, parameters: &Json| {
        let learned = fit(&TestHost::new(seed), &x, &y, parameters).unwrap();
        (learned.maps[0].to_bytes().unwrap(), learned.parameters)
    };
    let (first, chosen) = bytes(1, &parameters);
    assert_eq!(first, bytes(1, &parameters).0);
    assert_eq!(first, bytes(1, &chosen).0);
    assert_ne!(first, bytes(2, &parameters).0);
}

/// The text depends on five of the six dimensions of an image, so that a cosine of sqrt(5/6) = 0.91 is the
/// best possible for images; untrained decoders reach 0.
#[test]
fn decoders_approximate_an_inverse_of_every_modality() {
    let host = TestHost::new(4);
    let [x, y] = linear(400, 3);
    let parameters = json!({
        "members": 2, "steps": 400, "batch": 128, "hidden": 64, "blend": 1.0,
        "terms": { "reconstruction": 1.0 },
        "dropout": 0.0,
        "learning_rate": 3e-3, "noise": { "image": 1e-3, "text": 1e-3 }, "spectral_norm": 4.0,
    });
    let learned = fit(&host, &x, &y, &parameters).unwrap();
    for (at, items) in linear(100, 9).iter().enumerate() {
        let inverse = learned.inverses[at].as_ref().unwrap();
        assert_eq!(inverse.kind, InverseKind::Approximate);
        let back = through(&host, &inverse.graph, &through(&host, &learned.maps[at], items));
        let mut cosine = 0.0;
        for (got, row) in back.outer_iter().zip(items.outer_iter()) {
            cosine += f64::from(got.dot(&row) / (got.dot(&got) * row.dot(&row)).sqrt()) / 100.0;
        }
        assert!(cosine > 0.7, "modality {at}: mean cosine of an item and its round trip: {cosine}");
    }
}

#[test]
fn contradictory_parameters_are_refused_by_name() {
    let host = TestHost::new(1);
    let [x, y] = linear(60, 4);
    for (parameters, word) in [
        (json!({ "dropout": 1.5 }), "`dropout`"),
        (json!({ "tau": 0.0 }), "`tau`"),
        (json!({ "terms": { "triplet": 1.0 } }), "triplet"),
        (json!({ "terms": { "ot": -1.0 } }), "`terms.ot`"),
        (json!({ "blend": 2.0 }), "`blend`"),
        (json!({ "batch": 1 }), "`batch`"),
        (json!({ "noise": [0.1] }), "or a table of them by modality"),
        (json!({ "noise": { "sound": 0.1 } }), "`noise`: expected modalities among image, text, got `sound`"),
        (json!({ "start": { "power": -1.0 } }), "`start.power`"),
        (json!({ "start": { "pover": 1.0 } }), "pover"),
        (
            json!({ "terms": { "infonce": 0.0 }, "blend": 1.0 }),
            "`terms`: expected a term with a weight above 0",
        ),
        (json!({ "terms": { "infonce": 0.0, "smoothness": 1.0 }, "blend": 1.0 }), "got `smoothness` alone"),
    ] {
        let refusal = fit(&host, &x, &y, &parameters).unwrap_err();
        assert_eq!(refusal.code(), Code::INVALID, "{parameters}: {refusal}");
        assert!(refusal.message().contains(word), "{parameters}: {refusal}");
    }
}

#[test]
fn unknown_and_invalid_parameters_are_refused() {
    chiasm_kit::testing::check_parameters::<MlpAligner>();
}

/// Twelve and ten columns; the second modality is a noisy linear map of the first four columns of the first.
fn stored_world(rows: usize, seed: u64) -> [Array2<f32>; 2] {
    let mut random = Random::new(seed);
    let mut draw = |columns| Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32);
    let (x, noise) = (draw(12), draw(10));
    let mixing =
        Array2::from_shape_fn((12, 10), |(i, j)| if i < 4 { ((i * 10 + j) as f32 * 1.7).sin() } else { 0.0 });
    let y = x.dot(&mixing) + noise * 0.3;
    [x, y]
}

/// The first numbers of both maps and of the inverse on new rows, as stored when this aligner took exactly
/// two modalities. 2e-3 of vectors of length one covers the rounding of another processor in the training.
#[test]
fn two_modalities_give_the_stored_maps() {
    let host = TestHost::new(3);
    let ([x, y], [tx, ty]) = (stored_world(200, 1), stored_world(50, 2));
    let parameters = json!({
        "members": 2, "steps": 30, "hidden": 16, "batch": 64, "blend": 0.5,
        "terms": { "reconstruction": 0.5 },
    });
    let learned = fit(&host, &x, &y, &parameters).unwrap();
    let z = through(&host, &learned.maps[0], &tx);
    let inverse = &learned.inverses[0].as_ref().unwrap().graph;
    let stored: [(Array2<f32>, [f32; 4]); 3] = [
        (through(&host, inverse, &z), [-0.450_906_7, 0.579_617_44, -0.474_058_5, 0.042_003_054]),
        (z, [-0.185_687_57, -0.679_506_5, -0.026_148_204, 0.050_025_16]),
        (through(&host, &learned.maps[1], &ty), [-0.249_036_22, -0.640_777_05, -0.095_307_25, -0.062_503_6]),
    ];
    for (got, expected) in stored {
        let got = &got.as_slice().unwrap()[..4];
        assert!(
            got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-3),
            "{got:?}, expected {expected:?}"
        );
    }
}
