//! `chiasm eval --truth` and `--geometry`: the comparison with known factors, and of aligned spaces.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{RandomNumbers, Sandbox, npy};
use serde_json::{Value, json};

const ROWS: usize = 400;
/// Number of factors, and the widths of the two files.
const FACTORS: usize = 3;
const VIEWS: [(&str, usize); 2] = [("a", 8), ("b", 6)];

/// Writes and fits two files of vectors that are noisy linear functions of known factors. `b` lacks every
/// eighth row. Beside the truth it writes an unrelated file of the same shape, and one with a row less.
fn fitted() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut numbers = RandomNumbers(5);
    let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| numbers.next()).collect() };
    let truth = draw(ROWS * FACTORS);
    let mut recipe = String::new();
    for (name, width) in VIEWS {
        let mixing = draw(width * FACTORS);
        let clean = |row: &[f32], weights: &[f32]| row.iter().zip(weights).map(|(x, w)| x * w).sum::<f32>();
        let mut values: Vec<f32> = Vec::new();
        for row in truth.chunks(FACTORS) {
            values.extend(mixing.chunks(FACTORS).map(|weights| clean(row, weights)));
        }
        let noise = draw(values.len());
        values.iter_mut().zip(noise).for_each(|(value, e)| *value += 0.02 * e);
        sandbox.write(&format!("{name}.npy"), npy(ROWS, width, &values));
        recipe.push_str(&format!("[encoders.{name}]\nvectors = \"{name}.npy\"\n"));
    }
    sandbox.write("truth.npy", npy(ROWS, FACTORS, &truth));
    sandbox.write("other.npy", npy(ROWS, FACTORS, &draw(ROWS * FACTORS)));
    sandbox.write("short.npy", npy(ROWS - 1, FACTORS, &truth[FACTORS..]));
    let mut lines = String::new();
    for row in 0..ROWS {
        let mut line = json!({ "id": row, "split": if row % 2 == 0 { "test" } else { "train" }, "a": row });
        if row % 8 != 0 {
            line["b"] = row.into();
        }
        lines.push_str(&format!("{line}\n"));
    }
    sandbox.write("rows.jsonl", lines);
    let recipe = format!("{recipe}[data]\npairs = \"rows.jsonl\"\n[align]\nplugin = \"cca\"\n");
    sandbox.write("recipe.toml", recipe);
    let output = sandbox.call(&["fit", "recipe.toml", "-o", "run"]);
    assert!(matches!(output.code, Some(0 | 1)), "{}", output.stderr);
    sandbox
}

fn against(sandbox: &Sandbox, truth: &str) -> Value {
    let printed = sandbox.good(&["eval", "run", "--truth", truth, "--format", "json"]);
    serde_json::from_str::<Value>(&printed).unwrap()["identifiability"].clone()
}

#[test]
fn known_factors_are_compared_with_every_modality() {
    let sandbox = fitted();
    let found = against(&sandbox, "truth.npy");
    assert_eq!(found["factors"], 3);
    let score = |found: &Value, name: &str, key: &str| found["modalities"][name][key].as_f64().unwrap();
    // 200 test rows, of which 50 lack b.
    for (name, items) in [("a", 200), ("b", 150)] {
        assert_eq!(found["modalities"][name]["items"], items);
        // The vectors have length one, so that their length is lost; their direction determines most.
        for key in ["r2_linear", "r2_kernel"] {
            assert!(score(&found, name, key) > 0.7, "{name} {key}: {found}");
        }
        assert!((0.4..=1.0).contains(&score(&found, name, "mcc")), "{found}");
        assert_eq!(found["modalities"][name]["correlations"].as_array().unwrap().len(), 3);
    }
    assert_eq!(found["mean_of_modalities"]["items"], 150);
    assert!(found["foscttm"]["a, b"].as_f64().unwrap() < 0.05, "{found}");
    // Of unrelated factors nothing is predicted.
    let chance = against(&sandbox, "other.npy");
    for key in ["r2_linear", "r2_kernel"] {
        assert!(score(&chance, "a", key) < 0.1, "{key}: {chance}");
    }
    assert_eq!(chance["foscttm"], found["foscttm"]);
    // The table has the same figures.
    let table = sandbox.good(&["eval", "run", "--truth", "truth.npy"]);
    let mcc = format!("{:.3}", score(&found, "a", "mcc"));
    assert!(table.contains("3 true factors") && table.contains(&mcc) && table.contains("FOSCTTM"), "{table}");
    // Without the flag the field is absent.
    let plain: Value = serde_json::from_str(&sandbox.good(&["eval", "run", "--format", "json"])).unwrap();
    assert!(plain.get("identifiability").is_none());
}

/// FOSCTTM is also measured against the truth, by other code; a table has a column for each pair.
#[test]
fn the_geometry_of_aligned_items_is_measured() {
    let sandbox = fitted();
    let asked = ["eval", "run", "--truth", "truth.npy", "--geometry=foscttm,mutual_knn", "--format", "json"];
    let found: Value = serde_json::from_str(&sandbox.good(&asked)).unwrap();
    let measured = found["geometry"]["a, b"].as_object().unwrap();
    assert_eq!(measured.keys().collect::<Vec<_>>(), ["foscttm", "mutual_knn@10"]);
    assert_eq!(measured["foscttm"], found["identifiability"]["foscttm"]["a, b"]);
    assert!(measured["mutual_knn@10"].as_f64().unwrap() > 0.3, "{found}");
    let table = sandbox.good(&["eval", "run", "--geometry"]);
    assert!(table.contains("a, b") && table.contains("curvature_mismatch"), "{table}");
    sandbox.call(&["eval", "run", "--geometry=roundness"]).refused("roundness", &["roundness", "mutual_knn"]);
}

#[test]
fn factors_of_other_data_are_refused() {
    let sandbox = fitted();
    let with = |file| ["eval", "run", "--truth", file];
    sandbox.call(&with("short.npy")).refused("short.npy", &["short.npy", "400 rows", "got 399"]);
    sandbox.call(&with("none.npy")).refused("none.npy", &["none.npy"]);
    sandbox.write("still.npy", npy(ROWS, 1, &[1.0; ROWS]));
    sandbox.call(&with("still.npy")).refused("still.npy", &["still.npy", "truth has no spread"]);
}
