//! Corrupted training items, and the sweeps over corrupted and missing test items.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{RandomNumbers, Sandbox, contents, npy};
use serde_json::Value;

const FIT: [&str; 4] = ["fit", "recipe.toml", "-o", "run"];
const ROWS: usize = 400;
/// Every fifth row is a test row.
const TEST_ROWS: f64 = 80.0;

/// Writes files of vectors, noisy linear functions of four latent numbers, and a recipe with `more`.
fn views(names: &[&str], more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut numbers = RandomNumbers(4);
    let causes: Vec<[f32; 4]> = (0..ROWS).map(|_| [(); 4].map(|()| numbers.next())).collect();
    let mut recipe = String::new();
    for name in names {
        let mixing: Vec<[f32; 4]> = (0..10).map(|_| [(); 4].map(|()| numbers.next())).collect();
        let mut values = Vec::new();
        for cause in &causes {
            for weights in &mixing {
                let clean: f32 = weights.iter().zip(cause).map(|(w, x)| w * x).sum();
                values.push(clean + 0.1 * numbers.next());
            }
        }
        sandbox.write(&format!("{name}.npy"), npy(ROWS, 10, &values));
        recipe.push_str(&format!("[encoders.{name}]\nvectors = \"{name}.npy\"\n"));
    }
    sandbox.write("recipe.toml", format!("{recipe}[align]\nplugin = \"cca\"\n{more}"));
    sandbox
}

/// Fits the recipe. The checks may fail, since there are few pairs.
fn fit(sandbox: &Sandbox, more: &[&str]) -> String {
    let output = sandbox.call(&[&FIT[..], more].concat());
    assert!(matches!(output.code, Some(0 | 1)), "{more:?}: {}", output.stderr);
    output.stdout
}

fn file(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path(name)).unwrap()).unwrap()
}

/// The mean recall@1 over directions.
fn mean_recall(directions: &Value) -> f64 {
    let directions = directions.as_object().unwrap();
    let recalls = directions.values().map(|scored| scored["recall@1"].as_f64().unwrap());
    recalls.sum::<f64>() / directions.len() as f64
}

/// The values of a curve: `key` of recall@1 at each share.
fn curve(robustness: &Value, system: &str, sweep: &str, key: &str) -> Vec<f64> {
    let curves = robustness["curves"].as_array().unwrap();
    let found = curves.iter().find(|curve| curve["system"] == system && curve["sweep"] == sweep).unwrap();
    let points = found["points"].as_array().unwrap().iter();
    points.map(|point| point["recall@1"][key].as_f64().unwrap()).collect()
}

const SWEEPS: &str = "[robustness]\ncorruption = [0.25, 0.5, 1.0]\nmissing = [0.25, 0.5, 1.0]\n\
                      baselines = [\"procrustes\", { name = \"rough\", plugin = \"ridge\" }]\n\
                      [robustness.corrupt.a]\nkind = \"noise\"\nstrength = 2.0\n";

/// At a share of zero both sweeps are the evaluation, and without any item all systems are at chance: one of
/// 80 gallery items. In between, recall falls: items of a smaller share are among those of a larger one.
#[test]
fn sweeps_start_at_the_evaluation_and_end_at_chance() {
    let sandbox = views(&["a", "b"], SWEEPS);
    let printed = fit(&sandbox, &[]);
    assert!(
        printed.contains("corrupted test items") && printed.contains("without each modality"),
        "{printed}"
    );
    let (robustness, metrics) = (file(&sandbox, "run/robustness.json"), file(&sandbox, "run/metrics.json"));
    let evaluated = mean_recall(&metrics["retrieval"]);
    for system in ["cca", "procrustes", "rough"] {
        for sweep in ["corruption", "missing"] {
            let recalls = curve(&robustness, system, sweep, "value");
            assert_eq!(recalls.len(), 4, "{system}, {sweep}");
            assert!(recalls.is_sorted_by(|a, b| a > b), "{system}, {sweep}: {recalls:?}");
            let losses = curve(&robustness, system, sweep, "loss");
            for (recall, loss) in recalls.iter().zip(losses) {
                assert!((loss - (1.0 - recall / recalls[0])).abs() < 1e-12, "{system}, {sweep}");
            }
        }
        let missing = curve(&robustness, system, "missing", "value");
        assert!((missing[3] - 1.0 / TEST_ROWS).abs() < 1e-12, "{system}: {missing:?}");
    }
    for sweep in ["corruption", "missing"] {
        let first = curve(&robustness, "cca", sweep, "value")[0];
        assert!((first - evaluated).abs() < 1e-12, "{sweep}: {first}, evaluated {evaluated}");
    }
    let plot = std::fs::read_to_string(sandbox.path("run/robustness.svg")).unwrap();
    assert!(plot.starts_with("<svg") && plot.matches("<circle").count() == 24, "{plot}");
    assert!(sandbox.good(&["eval", "run"]).contains("corrupted test items"));
    let before = contents(&sandbox.path("run"));
    fit(&sandbox, &["--force"]);
    let after = contents(&sandbox.path("run"));
    for name in ["robustness.json", "robustness.svg"] {
        assert!(before[name] == after[name], "{name} differs");
    }
}

/// Of three modalities each is asked for with the other two. With half of the items missing, a quarter of the
/// queries has nothing left; recall then loses less than the half that it loses with two modalities, where a
/// query has one item. The complete queries are the joint ones of the evaluation.
#[test]
fn a_third_modality_stands_in_for_a_missing_one() {
    let loss = |names: &[&str]| {
        let sandbox = views(names, "[robustness]\nmissing = [0.5]\n");
        fit(&sandbox, &[]);
        let (robustness, metrics) =
            (file(&sandbox, "run/robustness.json"), file(&sandbox, "run/metrics.json"));
        let complete = if names.len() > 2 { "joint" } else { "retrieval" };
        let (first, evaluated) =
            (curve(&robustness, "cca", "missing", "value")[0], mean_recall(&metrics[complete]));
        assert!((first - evaluated).abs() < 1e-12, "{first}, evaluated {evaluated}");
        curve(&robustness, "cca", "missing", "loss")[1]
    };
    let (two, three) = (loss(&["a", "b"]), loss(&["a", "b", "c"]));
    assert!((two - 0.5).abs() < 0.1 && three < two - 0.05, "two {two}, three {three}");
}

/// Noise of five deviations on all training items of one modality leaves little to learn from; beside the
/// clean items it does less. The test items are clean in both cases, as without corruption.
#[test]
fn training_items_are_corrupted_with_their_probability() {
    let sandbox = views(&["a", "b"], "");
    fit(&sandbox, &[]);
    let clean = mean_recall(&file(&sandbox, "run/metrics.json")["retrieval"]);
    let recall = |more: &str| {
        let sandbox =
            views(&["a", "b"], &format!("[data.corruption.a]\nkind = \"noise\"\nstrength = 5.0\n{more}"));
        fit(&sandbox, &[]);
        let (metrics, manifest) = (file(&sandbox, "run/metrics.json"), file(&sandbox, "run/manifest.json"));
        assert_eq!(manifest["rows"]["train"], 320);
        mean_recall(&metrics["retrieval"])
    };
    assert_eq!(recall("probability = 0.0"), clean);
    let (all, beside) = (recall(""), recall("keep_clean = true"));
    assert!(all < beside && beside < clean, "all {all}, beside the clean items {beside}, none {clean}");
    let refused = views(&["a", "b"], "[data.corruption.a]\nkind = \"noise\"\nstrength = 1\n");
    let output = refused.call(&["compare", "recipe.toml"]);
    assert!(output.code == Some(2) && output.stderr.contains("--folds 0"), "{}", output.stderr);
    let tune = ["tune", "recipe.toml", "--over", "seed=1..3", "--trials", "2", "-o", "tuned"];
    refused.call(&tune).refused("folds of corrupted rows", &["which [data.corruption] changes"]);
}

/// Pictures and captions of the demo: a blur and synonyms change the vectors, and both are decided by the
/// adapters.
#[test]
fn pictures_and_texts_are_corrupted_by_their_adapters() {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    let recipe = sandbox.recipe();
    let text = std::fs::read_to_string(&recipe).unwrap();
    sandbox.write("synonyms.json", "{\"red\": [\"crimson\"], \"circle\": [\"disc\", \"ring\"]}");
    let sweeps = "[robustness]\ncorruption = [1.0]\n[robustness.corrupt.image]\nkind = \"blur\"\n\
                  strength = 4.0\n[robustness.corrupt.text]\nkind = \"dropout\"\nstrength = 0.5\n";
    let synonyms =
        "[data.corruption.text]\nkind = \"synonyms\"\nstrength = 1.0\nsynonyms = \"synonyms.json\"\n";
    sandbox.write("recipe.toml", format!("{text}{sweeps}{synonyms}"));
    fit(&sandbox, &[]);
    let robustness = file(&sandbox, "run/robustness.json");
    let recalls = curve(&robustness, "ridge", "corruption", "value");
    assert!(recalls[1] < recalls[0], "{recalls:?}");
    assert_eq!(robustness["corruption"]["image"]["kind"], "blur");
}

#[test]
fn mistakes_in_the_tables_are_refused_with_their_place() {
    for (more, words) in [
        ("[robustness]\n", &["neither `corruption` nor `missing`"][..]),
        ("[robustness]\nmissing = [0.5, 0.2]\n", &["ascending shares"]),
        ("[robustness]\nmissing = [1.5]\n", &["from 0 to 1"]),
        ("[robustness]\nmissing = 0.5\n", &["a list of numbers"]),
        ("[robustness]\ncorruption = [0.5]\n", &["or neither"]),
        ("[robustness]\nmissing = [0.5]\nbaselines = [\"cca\"]\n", &["\"cca\" is used twice"]),
        ("[robustness]\nmissing = [0.5]\nbaselines = [\"ccb\"]\n", &["ccb"]),
        (
            "[robustness]\nmissing = [0.5]\nbaselines = [{ plugin = \"ridge\", rigde = 1 }]\n",
            &["`rigde` in [robustness.baselines]", "`ridge`"],
        ),
        ("[data.corruption.c]\nkind = \"noise\"\nstrength = 1\n", &["data.corruption.c", "modalities a, b"]),
        ("[data.corruption.a]\nkind = \"blur\"\nstrength = 1\n", &["`blur`", "`noise` or `zero`"]),
        ("[data.corruption.a]\nkind = \"zero\"\nstrength = 2\n", &["strength of 0 to 1, got 2"]),
        ("[data.corruption.a]\nkind = \"zero\"\n", &["no `strength`"]),
        (
            "[data.corruption.a]\nkind = \"zero\"\nstrength = 1\nsynonyms = \"none.json\"\n",
            &["none.json", "lists of synonyms"],
        ),
        ("[data.corruption.a]\nkind = \"zero\"\nstrength = 1\nprobability = 2\n", &["from 0 to 1, got 2"]),
    ] {
        views(&["a", "b"], more).refused(&["plan", "recipe.toml"], words);
    }
}
