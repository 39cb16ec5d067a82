//! Corrupted pictures: the blur against that of scipy.ndimage (tests/reference/blur.py), the statistics of
//! noise, and the adapter's key.
#![expect(clippy::unwrap_used, reason = "test")]

use std::path::Path;

use chiasm_image::corruption::{PictureCorruption, corrupt};
use chiasm_image::decode::{Rgb, decode};
use chiasm_image::preprocessing::{ImageParameters, Preprocessing};
use chiasm_plugin::json;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)).unwrap()
}

fn corruption(kind: &str, strength: f64, seed: u64) -> PictureCorruption {
    serde_json::from_value(json!({ "kind": kind, "strength": strength, "seed": seed })).unwrap()
}

/// The `image` crate ends its kernel at two to three deviations, and scipy at four. That is a mean of one
/// level of 255 at these hard edges, where an unblurred picture differs by 11 and more.
#[test]
fn blur_is_that_of_scipy() {
    let bytes = file("pictures/rgb.png");
    let clean = decode(&bytes, false).unwrap();
    let expected = file("blur.bin");
    let mean = |picture: &Rgb, expected: &[u8]| {
        let differences = picture.pixels.iter().zip(expected).map(|(a, b)| f64::from(a.abs_diff(*b)));
        differences.sum::<f64>() / expected.len() as f64
    };
    for (sigma, expected) in [1.0, 2.0, 4.0].into_iter().zip(expected.chunks_exact(clean.pixels.len())) {
        let mut picture = clean.clone();
        corrupt(&mut picture, &corruption("blur", sigma, 0), &bytes);
        let (own, without) = (mean(&picture, expected), mean(&clean, expected));
        assert!(own < 1.5 && without > 8.0 * own, "sigma {sigma}: {own}, without blur {without}");
    }
}

/// Of 120,000 levels around 128, which are not clipped, the deviation has a standard error of 0.2 %.
/// Rounding adds a variance of 1/12.
#[test]
fn noise_has_its_deviation_and_is_clipped_to_the_range() {
    let grey = |level: u8| Rgb { width: 200, height: 200, pixels: vec![level; 120_000] };
    let mut picture = grey(128);
    corrupt(&mut picture, &corruption("noise", 0.08, 1), b"a");
    let squares = picture.pixels.iter().map(|level| (f64::from(*level) - 128.0).powi(2));
    let deviation = (squares.sum::<f64>() / 120_000.0 - 1.0 / 12.0).sqrt() / 255.0;
    assert!((deviation / 0.08 - 1.0).abs() < 0.01, "{deviation}");
    let mut black = grey(0);
    corrupt(&mut black, &corruption("noise", 0.08, 1), b"a");
    let zeros = black.pixels.iter().filter(|level| **level == 0).count();
    assert!((zeros as f64 / 120_000.0 - 0.5).abs() < 0.02, "half of the levels are clipped: {zeros}");
}

#[test]
fn the_table_asks_for_corruption_and_the_item_and_the_seed_determine_it() {
    let table = |corruption| json!({ "size": [16, 16], "corruption": corruption });
    let prepared = |corruption, name: &str| {
        let parameters: ImageParameters = serde_json::from_value(table(corruption)).unwrap();
        Preprocessing::new(&parameters).unwrap().apply(&file(name)).unwrap()
    };
    let noise = |seed: u64| json!({ "kind": "noise", "strength": 0.1, "seed": seed });
    let name = "pictures/rgb.png";
    assert_eq!(prepared(noise(1), name), prepared(noise(1), name));
    assert_ne!(prepared(noise(1), name), prepared(noise(2), name));
    for kind in ["noise", "blur"] {
        let none = json!({ "kind": kind, "strength": 0.0 });
        assert_eq!(prepared(none, name), prepared(json!(null), name), "{kind} of strength 0");
    }
    let added = |name: &str| -> Vec<f32> {
        prepared(noise(1), name).iter().zip(prepared(json!(null), name)).map(|(a, b)| a - b).collect()
    };
    assert_ne!(added(name), added("pictures/grey.png"), "two items have the same noise");
    let refused = |corruption| -> String {
        match serde_json::from_value::<ImageParameters>(table(corruption)) {
            Ok(parameters) => Preprocessing::new(&parameters).unwrap_err(),
            Err(error) => error.to_string(),
        }
    };
    assert!(refused(json!({ "kind": "dropout", "strength": 1 })).contains("`noise` or `blur`"));
    assert!(refused(json!({ "kind": "blur", "strength": -1 })).contains("0 to 100"));
}
