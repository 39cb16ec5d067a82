//! Three modalities, with anchors, absent items and several items in a row, in a real engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_geometry::random::Random;
use chiasm_geometry::retrieval::Ranks;
use chiasm_mlp::MlpAligner;
use chiasm_plugin::ndarray::{Array2, Axis};
use chiasm_plugin::{Code, Json, Learned, json};
use common::{AlignData, TestHost, through};

const NAMES: [&str; 3] = ["image", "text", "sound"];

/// Two angles; each modality holds other harmonics of them, so that no two correlate, though each fixes both
/// angles.
fn harmonics(rows: usize, seed: u64) -> [Array2<f32>; 3] {
    let mut random = Random::new(seed);
    let orders: [&[f64]; 3] = [&[1.0], &[2.0, 3.0], &[4.0, 5.0]];
    let mut out = orders.map(|orders| Array2::zeros((rows, 4 * orders.len())));
    for row in 0..rows {
        for angle in 0..2 {
            let t = std::f64::consts::TAU * random.uniform();
            for (items, orders) in out.iter_mut().zip(orders) {
                for (at, order) in orders.iter().enumerate() {
                    let first = 2 * (angle * orders.len() + at);
                    items[[row, first]] = (order * t).cos() as f32;
                    items[[row, first + 1]] = (order * t).sin() as f32;
                }
            }
        }
    }
    out
}

/// Three noisy linear maps of six hidden numbers.
fn linear(rows: usize, seed: u64) -> [Array2<f32>; 3] {
    let mut random = Random::new(seed);
    let mut draw = |columns| Array2::from_shape_simple_fn((rows, columns), || random.normal() as f32);
    let (hidden, noise) = (draw(6), [draw(8), draw(7), draw(9)]);
    let mut mixing = Random::new(77);
    noise.map(|noise| {
        let mixing = Array2::from_shape_simple_fn((6, noise.ncols()), || mixing.normal() as f32);
        hidden.dot(&mixing) + noise * 0.5
    })
}

fn rsum(host: &TestHost, learned: &Learned, test: &[Array2<f32>; 3], [a, b]: [usize; 2]) -> f64 {
    let [a, b] = [a, b].map(|at| through(host, &learned.maps[at], &test[at]));
    Ranks::of_embeddings(a.view(), b.view()).unwrap().rsum()
}

fn complete(items: &[Array2<f32>; 3]) -> AlignData {
    AlignData::complete(&[(NAMES[0], &items[0]), (NAMES[1], &items[1]), (NAMES[2], &items[2])])
}

fn without_start(learned: &Learned) -> Json {
    let mut parameters = learned.parameters.clone();
    parameters["blend"] = json!(0.0);
    parameters
}

/// Chance is 10.7 of 600 for a gallery of 300, and a linear map stays near it for each of the three pairs.
#[test]
fn three_modalities_without_any_correlation_are_aligned() {
    let host = TestHost::new(5);
    let (training, test) = (complete(&harmonics(2000, 1)), harmonics(300, 2));
    let parameters = json!({
        "hidden": 128, "members": 1, "steps": 600, "batch": 256, "learning_rate": 5e-3, "dropout": 0.0,
        "noise": 1e-4, "tau": 0.1,
    });
    let learned = training.fit::<MlpAligner>(&host, &parameters).unwrap();
    let start = training.fit::<MlpAligner>(&host, &without_start(&learned)).unwrap();
    for pair in [[0, 1], [0, 2], [1, 2]] {
        let (got, linear) = (rsum(&host, &learned, &test, pair), rsum(&host, &start, &test, pair));
        assert!(linear < 60.0, "pair {pair:?}: a linear map finds: {linear}");
        assert!(got > 200.0, "pair {pair:?}: {got}; {}", learned.notes);
    }
    let held_out = &learned.notes["held_out"];
    assert!(held_out["verdict"].as_str().unwrap().starts_with("the MLP beats every closed form here"));
    let pairs = held_out["comparison"]["maps"][0]["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 3, "every pair of modalities is compared");
}

/// Image and sound share no row: text binds them. The pair that was never seen together finds far above the
/// chance of 10.7.
#[test]
fn an_anchor_binds_modalities_that_share_no_row() {
    let host = TestHost::new(1);
    let (items, test) = (linear(400, 3), linear(300, 4));
    let mut data = complete(&items);
    data.anchor = Some("text");
    let keep = |range: std::ops::Range<usize>, at: usize| {
        (items[at].slice_axis(Axis(0), range.clone().into()).to_owned(), range.collect())
    };
    (data.modalities[0].1, data.modalities[0].2) = keep(0..200, 0);
    (data.modalities[2].1, data.modalities[2].2) = keep(200..400, 2);
    let parameters = json!({ "members": 1, "steps": 60, "hidden": 16, "batch": 128, "blend": 0.5 });
    let learned = data.fit::<MlpAligner>(&host, &parameters).unwrap();
    let found = rsum(&host, &learned, &test, [0, 2]);
    assert!(found > 150.0, "{found}");
}

/// Several texts a row and a fifth of all items missing: a fit on everything is no worse on new rows than one
/// on the complete rows.
#[test]
fn incomplete_rows_are_used() {
    let host = TestHost::new(2);
    let (items, test) = (linear(300, 5), linear(300, 6));
    let mut random = Random::new(7);
    let mut data = complete(&items);
    let mut complete_rows: Vec<usize> = (0..300).collect();
    for (at, (_, kept, rows)) in data.modalities.iter_mut().enumerate() {
        rows.retain(|_| random.uniform() > 0.3);
        complete_rows.retain(|row| rows.contains(row));
        // every third text twice
        let places: Vec<usize> = rows
            .iter()
            .flat_map(|&row| std::iter::repeat_n(row, if at == 1 && row % 3 == 0 { 2 } else { 1 }))
            .collect();
        (*kept, *rows) = (items[at].select(Axis(0), &places), places);
    }
    let parameters = json!({ "members": 1, "steps": 60, "hidden": 16, "batch": 64, "blend": 0.5 });
    let all = data.fit::<MlpAligner>(&host, &parameters).unwrap();
    let only = [0, 1, 2].map(|at| items[at].select(Axis(0), &complete_rows));
    let fewer = complete(&only).fit::<MlpAligner>(&host, &parameters).unwrap();
    let mean = |learned: &Learned| {
        [[0, 1], [0, 2], [1, 2]].map(|pair| rsum(&host, learned, &test, pair)).iter().sum::<f64>() / 3.0
    };
    let (all, fewer) = (mean(&all), mean(&fewer));
    assert!(all > fewer, "{all} on every item, {fewer} on the {} complete rows", complete_rows.len());
}

/// The rows of `validation` choose, and are not fitted on: other items there change the choice at most, never
/// the maps.
#[test]
fn validation_rows_choose_and_are_not_fitted_on() {
    let host = TestHost::new(3);
    let mut data = complete(&linear(160, 8));
    data.validation = (120..160).collect();
    let parameters = json!({ "members": 1, "steps": 10, "hidden": 8, "batch": 32 });
    let chosen = data.fit::<MlpAligner>(&host, &parameters).unwrap();
    assert_eq!(chosen.notes["held_out"]["comparison"]["rows"], 40.0);
    let fixed = chosen.parameters.clone();
    let before = data.fit::<MlpAligner>(&host, &fixed).unwrap();
    for (_, items, _) in &mut data.modalities {
        items.slice_axis_mut(Axis(0), (120..).into()).mapv_inplace(|x| 3.0 - x);
    }
    let after = data.fit::<MlpAligner>(&host, &fixed).unwrap();
    for ((chosen, before), after) in chosen.maps.iter().zip(&before.maps).zip(&after.maps) {
        assert_eq!(before.to_bytes().unwrap(), chosen.to_bytes().unwrap());
        assert_eq!(before.to_bytes().unwrap(), after.to_bytes().unwrap());
    }
}

#[test]
fn an_unlinked_modality_is_refused_by_name() {
    let host = TestHost::new(1);
    let mut data = complete(&linear(80, 9));
    data.modalities[2].2 = (100..180).collect();
    let refusal = data.fit::<MlpAligner>(&host, &json!({ "blend": 1.0 })).unwrap_err();
    assert_eq!(refusal.code(), Code::INVALID);
    assert!(refusal.message().contains("`sound`"), "{refusal}");
}
