//! Fits with a known answer, in a real engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../mlp/tests/common/mod.rs"]
mod common;

use chiasm_cycle::CycleAligner;
use chiasm_geometry::random::Random;
use chiasm_plugin::ndarray::{Array2, ArrayView1, Axis};
use chiasm_plugin::{Code, Json, Learned, Result, json};
use common::{AlignData, TestHost, through};

fn fit(host: &TestHost, x: &Array2<f32>, y: &Array2<f32>, parameters: &Json) -> Result<Learned> {
    AlignData::complete(&[("image", x), ("text", y)]).fit::<CycleAligner>(host, parameters)
}

/// A normal number of this row and column, the same on every machine to rounding.
fn normal(row: usize, column: usize, stream: u64) -> f64 {
    let mut random = Random::new(stream + 1_000_003 * row as u64 + column as u64);
    random.next_u64();
    random.normal()
}

/// Twelve columns of an image; the text is a noisy function of the first four, in ten columns: a ridge pair
/// loses the other eight on the way, though the text's space has room for them.
fn world(rows: usize, stream: u64) -> [Array2<f32>; 2] {
    let x = Array2::from_shape_fn((rows, 12), |(i, j)| normal(i, j, stream));
    let mixing =
        Array2::from_shape_fn((12, 10), |(i, j)| if i < 4 { ((i * 10 + j) as f64 * 1.7).sin() } else { 0.0 });
    let y = x.dot(&mixing) + Array2::from_shape_fn((rows, 10), |(i, j)| 0.3 * normal(i, 50 + j, stream));
    [x.mapv(|v| v as f32), y.mapv(|v| v as f32)]
}

/// Mean of 1 - cos² of centred rows and their round trips: the share of the variance lost.
fn lost(host: &TestHost, learned: &Learned, x: &Array2<f32>) -> f64 {
    let inverse = &learned.inverses[0].as_ref().unwrap().graph;
    let back = through(host, inverse, &through(host, &learned.maps[0], x));
    let share = |(got, row): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| {
        1.0 - f64::from(got.dot(&row).powi(2) / (got.dot(&got) * row.dot(&row)))
    };
    back.axis_iter(Axis(0)).zip(x.axis_iter(Axis(0))).map(share).sum::<f64>() / x.nrows() as f64
}

/// With room in the text's space, the trained pair must bring back much that the ridge pair cannot, and find
/// as well.
#[test]
fn the_trained_pair_has_a_lower_round_trip_error_than_the_ridge_pair() {
    let host = TestHost::new(2);
    let ([x, y], [tx, _]) = (world(600, 1), world(200, 77));
    let parameters = json!({ "hidden": 32, "steps": 400, "batch": 128, "learning_rate": 3e-3 });
    let learned = fit(&host, &x, &y, &parameters).unwrap();
    let held = &learned.notes["pairs"]["image"]["held_out"];
    assert_eq!(learned.notes["pairs"]["image"]["trained"], true, "{held}");
    assert!(learned.inverses[1].is_none(), "the reference is not mapped");
    let mut ridge = learned.parameters.clone();
    ridge["train"] = json!(false);
    let (trained, ridge) =
        (lost(&host, &learned, &tx), lost(&host, &fit(&host, &x, &y, &ridge).unwrap(), &tx));
    assert!(trained < 0.9 * ridge, "lost {trained} after training, {ridge} before: {held}");
    let said = held["verdict"].as_str().unwrap();
    assert!(said.ends_with("and is returned"), "{said}");
    assert!(held["against_closed_forms"].as_str().unwrap().contains("the trained pair"), "{held}");
}

#[test]
fn the_same_seed_and_the_chosen_parameters_give_the_same_bytes() {
    let [x, y] = world(80, 3);
    let parameters = json!({ "train": true, "steps": 10, "hidden": 8, "batch": 32 });
    let bytes = |seed, parameters: &Json| {
        let learned = fit(&TestHost::new(seed), &x, &y, parameters).unwrap();
        (learned.maps[0].to_bytes().unwrap(), learned.parameters)
    };
    let (first, chosen) = bytes(1, &parameters);
    assert_eq!(first, bytes(1, &parameters).0);
    assert_eq!(first, bytes(1, &chosen).0);
    assert_ne!(first, bytes(2, &parameters).0);
}

/// The way back moves less for a small step in the shared space.
#[test]
fn a_larger_penalty_on_the_jacobian_makes_the_map_smoother() {
    let [x, y] = world(300, 4);
    let spread = |smoothness: f64| {
        let parameters = json!({
            "train": true, "steps": 150, "hidden": 16, "batch": 128, "terms": { "smoothness": smoothness },
            "learning_rate": 3e-3,
        });
        let host = TestHost::new(1);
        let mut learned = fit(&host, &x, &y, &parameters).unwrap();
        let back = learned.inverses[0].take().unwrap().graph;
        // how far the way back moves for a small step
        let z = through(&host, &learned.maps[1], &y);
        let near = &z + &Array2::from_shape_fn(z.dim(), |(i, j)| 1e-2 * normal(i, j, 9) as f32);
        let step = through(&host, &back, &near) - through(&host, &back, &z);
        step.iter().map(|d| f64::from(d * d)).sum::<f64>()
    };
    let (rough, smooth) = (spread(0.0), spread(1.0));
    assert!(smooth < 0.9 * rough, "{smooth} with the penalty, {rough} without");
}

/// Three views of one cloud: image as in [`world`], text and a sound that is a noisy function of the text.
fn three(rows: usize, stream: u64) -> [Array2<f32>; 3] {
    let [image, text] = world(rows, stream);
    let mixing = Array2::from_shape_fn((10, 8), |(i, j)| ((i * 8 + j) as f64 * 0.9).cos());
    let noise = Array2::from_shape_fn((rows, 8), |(i, j)| 0.3 * normal(i, 90 + j, stream));
    let sound = (text.mapv(f64::from).dot(&mixing) + noise).mapv(|v| v as f32);
    [image, text, sound]
}

/// Every modality but the anchor is mapped onto it and back; images and sounds, which share no row, find each
/// other above chance (10.7 of 600 for a gallery of 300); round trips of both lose less than everything.
#[test]
fn every_modality_is_a_pair_with_the_anchor() {
    let host = TestHost::new(4);
    let ([image, text, sound], test) = (three(400, 5), three(300, 6));
    let rows = |items: &Array2<f32>, range: std::ops::Range<usize>| {
        (items.slice_axis(Axis(0), range.clone().into()).to_owned(), range.collect::<Vec<usize>>())
    };
    let (image, image_rows) = rows(&image, 0..250);
    let (sound, sound_rows) = rows(&sound, 250..400);
    let data = AlignData {
        modalities: vec![
            ("image", image, image_rows),
            ("text", text, (0..400).collect()),
            ("sound", sound, sound_rows),
        ],
        anchor: Some("text"),
        validation: Vec::new(),
        labels: Vec::new(),
    };
    let parameters =
        json!({ "train": true, "steps": { "image": 60, "sound": 40 }, "hidden": 16, "batch": 64 });
    let learned = data.fit::<CycleAligner>(&host, &parameters).unwrap();
    let z: Vec<Array2<f32>> =
        learned.maps.iter().zip(&test).map(|(map, items)| through(&host, map, items)).collect();
    let rsum = |a: usize, b: usize| {
        chiasm_geometry::retrieval::Ranks::of_embeddings(z[a].view(), z[b].view()).unwrap().rsum()
    };
    let (seen, never_seen) = (rsum(0, 1), rsum(0, 2));
    assert!(seen > 100.0 && never_seen > 50.0, "{seen} for image and text, {never_seen} for image and sound");
    assert_eq!(learned.notes["reference"], "text");
    assert_eq!(learned.notes["pairs"]["sound"]["steps"], 40);
    assert_eq!(learned.inverses.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    for at in [0, 2] {
        let back = through(&host, &learned.inverses[at].as_ref().unwrap().graph, &z[at]);
        let cosine = |(got, row): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| {
            f64::from(got.dot(&row) / (got.dot(&got) * row.dot(&row)).sqrt())
        };
        let mean = back.outer_iter().zip(test[at].outer_iter()).map(cosine).sum::<f64>() / 300.0;
        assert!(mean > 0.4, "modality {at}: mean cosine of an item and its round trip: {mean}");
    }
    let again = data.fit::<CycleAligner>(&host, &learned.parameters).unwrap();
    for (first, second) in learned.maps.iter().zip(&again.maps) {
        assert_eq!(first.to_bytes().unwrap(), second.to_bytes().unwrap());
    }
}

/// Two texts in every third row: each row counts once, whatever the order of a row's texts.
#[test]
fn several_items_in_a_row_are_trained_on() {
    let host = TestHost::new(5);
    let [image, text] = world(120, 8);
    let rows: Vec<usize> = (0..120).flat_map(|row| vec![row; if row % 3 == 0 { 2 } else { 1 }]).collect();
    let data = AlignData {
        modalities: vec![
            ("image", image.clone(), (0..120).collect()),
            ("text", text.select(Axis(0), &rows), rows),
        ],
        anchor: None,
        validation: Vec::new(),
        labels: Vec::new(),
    };
    let parameters = json!({ "steps": 20, "hidden": 8, "batch": 32 });
    let learned = data.fit::<CycleAligner>(&host, &parameters).unwrap();
    assert!(learned.notes["pairs"]["image"]["held_out"]["verdict"].is_string());
    let z = through(&host, &learned.maps[0], &image);
    assert!(z.iter().all(|x| x.is_finite()));
}

#[test]
fn contradictory_parameters_are_refused_by_name() {
    let host = TestHost::new(1);
    let [x, y] = world(60, 4);
    for (parameters, word) in [
        (json!({ "cycle": -1.0 }), "`cycle`"),
        (json!({ "margin": 1e9 }), "`margin`"),
        (json!({ "ridges": [0.1, 0.0] }), "`ridges`"),
        (json!({ "ridges": { "sound": [0.1, 0.1] } }), "`ridges`: expected modalities among image, text"),
        (json!({ "curve": "bent" }), "bent"),
        (json!({ "steps": 0 }), "`steps`"),
    ] {
        let refusal = fit(&host, &x, &y, &parameters).unwrap_err();
        assert_eq!(refusal.code(), Code::INVALID, "{parameters}: {refusal}");
        assert!(refusal.message().contains(word), "{parameters}: {refusal}");
    }
}

#[test]
fn unknown_and_invalid_parameters_are_refused() {
    chiasm_kit::testing::check_parameters::<CycleAligner>();
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
/// two modalities. The hinge compared neighbours in the batch then and compares all pairs now, which moves
/// the numbers by 2e-3; 5e-3 of vectors of length one covers that and the rounding of another processor.
#[test]
fn two_modalities_give_the_stored_maps() {
    let host = TestHost::new(3);
    let ([x, y], [tx, ty]) = (stored_world(200, 1), stored_world(50, 2));
    let parameters = json!({ "train": true, "steps": 40, "hidden": 16, "batch": 64 });
    let learned = fit(&host, &x, &y, &parameters).unwrap();
    let z = through(&host, &learned.maps[0], &tx);
    let inverse = &learned.inverses[0].as_ref().unwrap().graph;
    let stored: [(Array2<f32>, [f32; 4]); 3] = [
        (through(&host, inverse, &z), [0.210_220_59, 0.551_522_73, -0.749_464_87, -0.159_626_45]),
        (z, [-0.049_415_495, 0.983_758_87, -0.004_143_292_5, 0.067_168]),
        (through(&host, &learned.maps[1], &ty), [-0.117_794_61, 0.487_587_9, -0.234_305_86, 0.262_385_76]),
    ];
    for (got, expected) in stored {
        let got = &got.as_slice().unwrap()[..4];
        assert!(
            got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 5e-3),
            "{got:?}, expected {expected:?}"
        );
    }
}
