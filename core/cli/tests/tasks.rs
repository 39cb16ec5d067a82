//! The tasks of the world that need more than one input, with the recipes that its generator writes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, json};
use serde_json::Value;
use world::tasks::{Task, TaskReport, TaskSettings, write_task};

/// Writes a task, fits its recipe, and returns the bounds and the scores.
fn fitted(sandbox: &Sandbox, task: Task, rows: usize, more: &[&str]) -> (TaskReport, Value) {
    let settings = TaskSettings { task, rows, seed: 1, label_noise: 0.0, noise: 0.1 };
    let report = write_task(&settings, &sandbox.path("task")).unwrap();
    let sets = more.iter().flat_map(|key| ["--set", key]);
    let fit: Vec<&str> = ["fit", "task/recipe.toml", "-o", "run"].into_iter().chain(sets).collect();
    sandbox.good(&fit);
    let metrics = json(&std::fs::read_to_string(sandbox.path("run/metrics.json")).unwrap());
    (report, metrics["task"].clone())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The fusion is above the bounds of either input alone, and with an input hidden not above the bound of the
/// other.
#[test]
fn events_are_found_by_picture_and_sound_together() {
    let sandbox = Sandbox::new();
    let (report, task) = fitted(&sandbox, Task::SoundEvents, 1500, &[]);
    assert_eq!(task["metric"], "micro_f1");
    for (hidden, left) in [("picture", "sound"), ("sound", "picture")] {
        let bounds = &report.ceilings[left];
        let (fused, area) = (number(&task["score"]), number(&task["figures"]["roc_auc"]));
        assert!(fused > bounds["micro_f1"] && area > bounds["roc_auc"], "{left}: {bounds:?}, {task}");
        let alone = number(&task["without"][hidden]);
        // The bound is that of the test rows.
        assert!(alone <= bounds["micro_f1"] + 1e-9, "{left}: {bounds:?}, {task}");
    }
}

/// Every sentence and every picture has each answer equally often, so that a network without one of them is
/// right in exactly a third of the rows.
#[test]
fn entailment_is_at_chance_without_the_picture_or_the_sentence() {
    let sandbox = Sandbox::new();
    let (report, task) = fitted(&sandbox, Task::Entailment, 180, &["fuse.epochs=1"]);
    assert_eq!(task["metric"], "accuracy");
    for (hidden, left) in [("picture", "sentence"), ("sentence", "picture")] {
        let (alone, bound) = (number(&task["without"][hidden]), report.ceilings[left]["accuracy"]);
        assert!((alone - bound).abs() < 1e-9 && (bound - 1.0 / 3.0).abs() < 1e-9, "{alone} and {bound}");
    }
}

/// Left and right pictures are two modalities of one encoder. The merged model holds its weights once.
#[test]
fn two_pictures_share_the_encoder_of_the_merged_model() {
    let sandbox = Sandbox::new();
    let (report, task) = fitted(&sandbox, Task::TwoPictures, 320, &["fuse.epochs=1"]);
    assert_eq!(report.ceilings["left+right+sentence"]["accuracy"], 1.0);
    let hidden: Vec<&String> = task["without"].as_object().unwrap().keys().collect();
    assert_eq!(hidden, ["left", "right", "sentence"]);
    let size = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().len();
    let models = common::project().join("models");
    let [picture, sentence] =
        ["demo-image", "demo-text"].map(|name| size(models.join(name).join("model.onnx")));
    let (merged, fusion) = (size(sandbox.path("run/model.onnx")), size(sandbox.path("run/fusion.onnx")));
    // The maps and the names of the graph are less than half of an encoder.
    assert!(merged < picture + sentence + fusion + picture / 2, "{merged}: {picture}, {sentence}, {fusion}");
}

/// The same fusion has no difference, another one that of the scores, and each fusion is compared once.
#[test]
fn fusions_are_compared_on_their_task() {
    let sandbox = Sandbox::new();
    let (_, task) = fitted(&sandbox, Task::Entailment, 180, &["fuse.epochs=1"]);
    let swap =
        ["compare", "task/recipe.toml", "--swap", "fuse.epochs=1,3", "--folds", "0", "--baseline", "run"];
    let found = json(&sandbox.good(&[&swap[..], &["-o", "compared", "--format", "json"]].concat()));
    let rows = found["rows"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap()["task"].clone();
    let baseline = row("run");
    assert_eq!((&baseline["value"], &baseline["difference"]), (&task["score"], &Value::Null));
    let (same, other) = (row("epochs=1"), row("epochs=3"));
    assert_eq!((number(&same["difference"]["mean"]), number(&same["difference"]["p"])), (0.0, 1.0));
    let difference = &other["difference"];
    let [mean, low, high] =
        [&difference["mean"], &difference["interval"][0], &difference["interval"][1]].map(number);
    assert!((mean - (number(&other["value"]) - number(&task["score"]))).abs() < 1e-12, "{other}");
    assert!(low <= mean && mean <= high, "{other}");
    // Two fusions are compared with the baseline: Holm doubles the smaller p-value.
    let [p, p_holm] = ["p", "p_holm"].map(|key| number(&difference[key]));
    assert!((p_holm - (2.0 * p).min(1.0)).abs() < 1e-12, "{other}");
    assert_eq!(row("epochs=3 (bank)")["difference"], Value::Null, "it has the same fusion");
    let table = std::fs::read_to_string(sandbox.path("compared/comparison.csv")).unwrap();
    assert!(table.lines().next().unwrap().contains("task,task_difference_to_baseline"), "{table}");
    assert!(sandbox.good(&swap).contains("task, accuracy"));
    sandbox.call(&["report", "compared", "-o", "compared.html"]);
    let page = std::fs::read_to_string(sandbox.path("compared.html")).unwrap();
    assert!(page.contains("The task of the fusions"));
}
