//! Real encoders on Flickr pictures and captions, if they are available (see examples/flickr1k).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, project};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The folder of the real encoders and pairs; without them the test is skipped.
fn real() -> Option<PathBuf> {
    chiasm_testing::real_data("flickr1k/pairs.jsonl").map(|_| chiasm_testing::real_folder())
}

/// The folders of model cards.
fn models(real: &Path) -> std::ffi::OsString {
    std::env::join_paths([project().join("models"), real.join("models")]).unwrap()
}

/// Compares aligners with five folds and returns the rows.
fn compare(sandbox: &Sandbox, real: &Path, select: &str, aligners: &str) -> Vec<Value> {
    compare_on(
        sandbox,
        real,
        &real.join("flickr1k/pairs.jsonl"),
        &["--set", &format!("encoders.text.items={select}")],
        aligners,
    )
}

/// Compares aligners on the given pairs, with further arguments.
fn compare_on(sandbox: &Sandbox, real: &Path, pairs: &Path, more: &[&str], aligners: &str) -> Vec<Value> {
    let output = sandbox
        .chiasm()
        .env("CHIASM_MODELS", models(real))
        .arg("compare")
        .arg(project().join("examples/flickr1k/recipe.toml"))
        .args(["--set", &format!("data.pairs={}", pairs.display())])
        .args(more)
        .args(["--swap", &format!("align.plugin={aligners}"), "--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["rows"].as_array().unwrap().clone()
}

fn cv_rsum(rows: &[Value], aligner: &str, score: &str) -> f64 {
    let row = rows.iter().find(|r| r["swapped"]["align.plugin"] == aligner && r["score"] == score).unwrap();
    row["cross_validation"]["rsum"].as_f64().unwrap()
}

/// The bounds are the results of NumPy implementations minus 3, since rounding may change the chosen
/// parameters. Differences under 5 are noise. examples/flickr1k lists the results of this code.
#[test]
fn closed_forms_reach_their_known_results() {
    let Some(real) = real() else { return };
    let sandbox = Sandbox::new();
    let rows = compare(&sandbox, &real, "first", "mean-vector,procrustes,ridge,cca,kcca,ot-map");
    let chance = cv_rsum(&rows, "mean-vector", "plain");
    assert!((8.0..26.0).contains(&chance), "the floor must lie at chance (16 of 600): {chance}");
    for (aligner, score, known) in [
        ("procrustes", "plain", 277.0),
        ("ot-map", "plain", 277.0),
        ("ridge", "plain", 275.0),
        ("cca", "plain", 305.0),
        ("kcca", "bank", 330.0),
    ] {
        let got = cv_rsum(&rows, aligner, score);
        assert!(got >= known - 3.0, "{aligner} ({score}): {got}, known {known}");
    }
    let rows = compare(&sandbox, &real, "mean", "cca");
    let got = cv_rsum(&rows, "cca", "plain");
    assert!(got >= 397.0, "cca on the mean of five captions: {got}, known 400");
}

/// On 800 pairs, closed forms are better than trained networks. The aligner starts from them and must stay
/// close. The bounds are its goals; chance is 16.
#[test]
fn mlp_is_not_worse_than_the_closed_forms() {
    let Some(real) = real() else { return };
    let sandbox = Sandbox::new();
    for (select, bound) in [("first", 305.0), ("mean", 388.0)] {
        let got = cv_rsum(&compare(&sandbox, &real, select, "mlp"), "mlp", "plain");
        assert!(got >= bound, "mlp on {select}: {got}");
    }
}

/// A round trip with `cycle` loses less variance than one with two ridge maps, in both directions, at equal
/// recall. The standard error of recall on 160 rows is .027, and the standard deviation of rsum over folds is
/// 15.
#[test]
fn cycle_has_a_smaller_round_trip_error_than_ridge_at_equal_recall() {
    let Some(real) = real() else { return };
    let sandbox = Sandbox::new();
    let run = |aligner: &str| -> (Value, f64) {
        let folder = sandbox.path(aligner);
        let output = sandbox
            .chiasm()
            .env("CHIASM_MODELS", models(&real))
            .arg("fit")
            .arg(project().join("examples/flickr1k/recipe.toml"))
            .args(["--set", &format!("data.pairs={}", real.join("flickr1k/pairs.jsonl").display())])
            .args(["--set", &format!("align.plugin={aligner}"), "-o"])
            .arg(&folder)
            .output()
            .unwrap();
        // The images of ridge reach few of the captions' neighbourhoods, so that its check of surjectivity is
        // at its limit of .05: the command may end with 1 after it wrote the run.
        let written = output.status.success() || output.status.code() == Some(1);
        assert!(written, "{}", String::from_utf8_lossy(&output.stderr));
        let read = |file: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
        };
        (read("aligner/learned.json"), read("metrics.json")["rsum"].as_f64().unwrap())
    };
    let (cycle, rsum) = run("cycle");
    let (_, ridge) = run("ridge");
    assert!(rsum >= ridge - 15.0, "cycle {rsum}, ridge {ridge}");
    let image = &cycle["notes"]["pairs"]["image"];
    let held_out = &image["held_out"];
    let (pair, delivered) = (&held_out["ridge_pair"], held_out["trials"].as_array().unwrap().last().unwrap());
    assert_eq!(image["trained"], true, "{held_out}");
    let recall = |of: &Value| of["recall"].as_f64().unwrap();
    assert!(recall(delivered) >= recall(pair) - 0.027, "{held_out}");
    for way in 0..2 {
        let lost = |of: &Value| of["lost"][way].as_f64().unwrap();
        assert!(lost(delivered) < 0.8 * lost(pair), "way {way}: {held_out}");
    }
}

/// Both methods get 20 training rows of each fold as pairs; ot-map also gets the other 780 rows, shuffled.
/// The gain depends on the pairs: 2, 10 and 14 points of rsum for the three draws here, 8.9 on average.
#[test]
fn unpaired_rows_improve_a_fit_on_twenty_pairs() {
    let Some(real) = real() else { return };
    let sandbox = Sandbox::new();
    let folder = real.join("flickr1k").canonicalize().unwrap();
    let text = std::fs::read_to_string(folder.join("pairs.jsonl")).unwrap();
    let mut rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &mut rows {
        row["image"] = folder.join(row["image"].as_str().unwrap()).display().to_string().into();
    }
    let gains = [0, 100, 300].map(|shift| {
        let mut rows = rows.clone();
        rows.rotate_left(shift);
        gain_from_unpaired_rows(&sandbox, &real, &rows)
    });
    let mean = gains.iter().sum::<f64>() / 3.0;
    assert!(mean > 4.0, "ot-map beats Procrustes on the same 20 pairs by {gains:?}, on average by {mean}");
}

/// Returns by how much the rsum of ot-map on 20 pairs and unpaired rows exceeds that of Procrustes on the
/// pairs.
fn gain_from_unpaired_rows(sandbox: &Sandbox, real: &Path, rows: &[Value]) -> f64 {
    let text = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let first = ["--set", "encoders.text.items=first"];
    let pairs = sandbox.write("all.jsonl", text(rows));
    let set = [&first[..], &["--set", "align.pairs=20"]].concat();
    let ours = cv_rsum(&compare_on(sandbox, real, &pairs, &set, "ot-map"), "ot-map", "plain");
    let theirs = (0..5).map(|fold| {
        let (mut test, mut train) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            let is_test = at % 5 == fold;
            let part = if is_test { &mut test } else { &mut train };
            let mut row = row.clone();
            row["split"] = if is_test { "test" } else { "train" }.into();
            part.push(row);
        }
        train.truncate(20);
        let few = sandbox.write("few.jsonl", text(&[test, train].concat()));
        let found = compare_on(sandbox, real, &few, &[&first[..], &["--folds", "0"]].concat(), "procrustes");
        let plain = found.iter().find(|row| row["score"] == "plain").unwrap();
        plain["test"]["rsum"].as_f64().unwrap()
    });
    ours - theirs.sum::<f64>() / 5.0
}

#[test]
fn an_assignment_replaces_the_encoder() {
    let Some(real) = real() else { return };
    let sandbox = Sandbox::new();
    let output = sandbox
        .chiasm()
        .env("CHIASM_MODELS", models(&real))
        .arg("plan")
        .arg(project().join("examples/flickr1k/recipe.toml"))
        .args(["--set", &format!("data.pairs={}", real.join("flickr1k/pairs.jsonl").display())])
        .args(["--set", "encoders.image.model=squeezenet11", "--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["encoders"][0]["name"], "squeezenet11");
    assert_eq!(plan["encoders"][0]["pooled"], 512);
}
