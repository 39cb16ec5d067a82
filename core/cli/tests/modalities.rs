//! Three modalities, several items per row, and rows that lack modalities.

mod common;

use common::{
    Sandbox, peers,
    views::{FIT, ROWS, VIEWS, fit, metrics, recall, rows, views},
};
use serde_json::{Value, json};
use std::process::Command;

/// Chance is 10 / 60 for 60 test rows. A fifth of the training items is missing.
#[test]
fn every_aligner_of_many_modalities_aligns_three_with_missing_items() {
    let sandbox = views("plugin = \"cca\"\n");
    rows(&sandbox, |row, name| (row * 7 + name.len() * 3 + usize::from(name.as_bytes()[0])) % 5 != 1);
    let trained = "align.steps=60";
    for (aligner, more, least) in [
        ("procrustes", &[][..], 0.5),
        ("ridge", &[], 0.5),
        ("cca", &[], 0.5),
        ("kcca", &[], 0.5),
        ("mlp", &["--set", trained, "--set", "align.members=1"], 0.5),
        ("cycle", &["--set", trained, "--set", "align.train=true"], 0.5),
        ("mean-vector", &[], 0.0),
    ] {
        let set = format!("align.plugin={aligner}");
        fit(&sandbox, &[&["--set", &set], more].concat());
        let metrics = metrics(&sandbox);
        let directions: Vec<&String> = metrics["retrieval"].as_object().unwrap().keys().collect();
        assert_eq!(directions, ["a->b", "a->c", "b->a", "b->c", "c->a", "c->b"]);
        assert_eq!(metrics["rsum_max"], 1800.0);
        for direction in directions {
            let found = recall(&metrics, direction);
            assert!(found >= least, "{aligner}, {direction}: {found}");
        }
    }
}

#[test]
fn the_plan_refuses_three_modalities_for_an_aligner_of_two() {
    let sandbox = views("plugin = \"ot-map\"\n");
    rows(&sandbox, |_, _| true);
    sandbox
        .refused(&["plan", "recipe.toml"], &["\"ot-map\" takes exactly 2 modalities, and the recipe has 3"]);
}

/// Training rows have a and b, or b and c. So a and c are aligned through b, and retrieval is better than
/// with permuted rows.
#[test]
fn modalities_without_common_rows_are_aligned_through_a_third_one() {
    let sandbox = views("plugin = \"cca\"\nanchor = \"b\"\n");
    rows(&sandbox, |row, name| name == "b" || (row % 2 == 0) == (name == "a"));
    let plan = sandbox.good(&["plan", "recipe.toml"]);
    assert!(plan.contains("no training row has both a and c"), "{plan}");
    fit(&sandbox, &[]);
    let metrics = metrics(&sandbox);
    for direction in ["a->c", "c->a"] {
        let scored = &metrics["retrieval"][direction];
        assert_eq!(scored["emergent"], true);
        assert!(scored["permutation"]["p_value"].as_f64().unwrap() < 0.01, "{direction}: {scored}");
        assert!(recall(&metrics, direction) > 0.5, "{direction}: {scored}");
    }
    assert_eq!(metrics["retrieval"]["a->b"]["emergent"], false);
    let table = sandbox.good(&["compare", "recipe.toml", "--folds", "0"]);
    assert!(table.contains("R@1 a->c (emergent)") && !table.contains("R@1 a->b (emergent)"), "{table}");
    rows(&sandbox, |row, name| name == "a" || (row % 2 == 0 && name == "b"));
    let apart = ["no training row joins \"c\" to the other modalities"];
    sandbox.call(&["plan", "recipe.toml"]).refused("a modality apart", &apart);
}

/// Removing test rows does not change a map.
#[test]
fn test_rows_do_not_affect_the_maps() {
    let sandbox = views("plugin = \"cca\"\n");
    rows(&sandbox, |_, _| true);
    let with = |last: bool| {
        let text = std::fs::read_to_string(sandbox.path("rows.jsonl")).unwrap();
        let mut lines = String::new();
        for (at, line) in text.lines().enumerate() {
            let mut row: Value = serde_json::from_str(line).unwrap();
            if at % 5 == 1 {
                row["split"] = "validation".into();
            }
            if last || at < ROWS - 20 || row["split"] != "test" {
                lines.push_str(&format!("{row}\n"));
            }
        }
        sandbox.write("split.jsonl", lines);
        fit(&sandbox, &["--set", "data.pairs=split.jsonl"]);
        std::fs::read(sandbox.path("run/aligner/a.onnx")).unwrap()
    };
    let whole = with(true);
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("run/manifest.json")).unwrap()).unwrap();
    let counts = &manifest["rows"];
    assert_eq!(
        (&counts["train"], &counts["validation"], &counts["test"]),
        (&180.into(), &60.into(), &60.into())
    );
    assert!(whole == with(false), "fewer test rows changed a map");
}

/// The term `task` learns the labels of training rows, and those of test rows are not read.
#[test]
fn an_aligner_learns_labels_of_training_rows_only() {
    let sandbox = views("plugin = \"mlp\"\nblend = 1.0\nmembers = 1\nsteps = 20\nlabels = \"class\"\n");
    let with = |class: &dyn Fn(usize, bool) -> Value| {
        rows(&sandbox, |_, _| true);
        let text = std::fs::read_to_string(sandbox.path("rows.jsonl")).unwrap();
        let mut lines = String::new();
        for (at, line) in text.lines().enumerate() {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row["class"] = class(at, row["split"] == "test");
            lines.push_str(&format!("{row}\n"));
        }
        sandbox.write("rows.jsonl", lines);
        fit(&sandbox, &["--set", "align.terms.task=1"]);
        std::fs::read(sandbox.path("run/aligner/a.onnx")).unwrap()
    };
    let labelled = with(&|at, _| json!(["x", "y", "z"][at % 3]));
    let other_test_labels = with(&|at, test| if test { json!("w") } else { json!(["x", "y", "z"][at % 3]) });
    assert!(labelled == other_test_labels, "the labels of test rows changed a map");
    let others = with(&|at, _| json!(["x", "y"][at % 2]));
    assert!(labelled != others, "labels do not matter");
    let text = std::fs::read_to_string(sandbox.path("recipe.toml")).unwrap();
    sandbox.write("recipe.toml", text.replace("labels = \"class\"\n", ""));
    sandbox
        .call(&[&FIT[..], &["--set", "align.terms.task=1"]].concat())
        .refused("no labels", &["the term `task` learns labels", "align.labels = \"class\""]);
}

/// The same rows as JSON lines and as CSV give the same maps.
#[test]
fn a_csv_file_gives_the_same_maps_as_json_lines() {
    let sandbox = views("plugin = \"procrustes\"\n");
    rows(&sandbox, |row, name| row % 4 != 1 || name != "c");
    let mut table = String::from("id,split,a,b,c\n");
    for row in 0..ROWS {
        let test = row % 5 == 0;
        let split = if test { "test" } else { "train" };
        let last = if test || row % 4 != 1 { row.to_string() } else { String::new() };
        table.push_str(&format!("r{row},{split},{row},{row},{last}\n"));
    }
    sandbox.write("rows.csv", table);
    fit(&sandbox, &[]);
    let maps = |name: &str| std::fs::read(sandbox.path(&format!("run/aligner/{name}.onnx"))).unwrap();
    let first = VIEWS.map(|(name, _)| maps(name));
    fit(&sandbox, &["--set", "data.pairs=rows.csv"]);
    assert!(first == VIEWS.map(|(name, _)| maps(name)));
}

/// With five captions per picture, recall and average precision are compared with a direct computation in
/// Python on the embeddings. There are no ties, so the results differ only by rounding.
#[test]
fn metrics_with_five_captions_equal_a_direct_computation() {
    let sandbox = Sandbox::new();
    sandbox.world(150);
    let recipe = std::fs::read_to_string(sandbox.recipe()).unwrap();
    sandbox.write("recipe.toml", recipe.replace("items = \"first\"", "items = \"each\""));
    fit(&sandbox, &[]);
    let metrics = metrics(&sandbox);
    assert_eq!(metrics["items"], json!({ "image": 30, "text": 150 }));
    let world = std::fs::read_to_string(sandbox.path("world/pairs.jsonl")).unwrap();
    let (mut images, mut texts) = (String::new(), String::new());
    for line in world.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        if row["split"] == "test" {
            let path = format!("world/{}", row["image"].as_str().unwrap());
            images.push_str(&format!("{}\n", json!({ "image": path })));
            for caption in row["captions"].as_array().unwrap() {
                texts.push_str(&format!("{}\n", json!({ "text": caption })));
            }
        }
    }
    sandbox.write("images.jsonl", images);
    sandbox.write("texts.jsonl", texts);
    sandbox.good(&["run", "run", "--input", "images.jsonl", "-o", "images.npz"]);
    sandbox.good(&["run", "run", "--input", "texts.jsonl", "-o", "texts.npz"]);
    let script = "import json, numpy
i = numpy.load('images.npz')['image_embeds'].astype(float)
t = numpy.load('texts.npz')['text_embeds'].astype(float)
rows = numpy.repeat(numpy.arange(len(i)), 5)
def figures(scores, right):
    order = numpy.argsort(-scores, axis=1, kind='stable')
    hit = numpy.take_along_axis(right, order, axis=1)
    places = numpy.arange(1, hit.shape[1] + 1)
    precision = (numpy.cumsum(hit, axis=1) / places * hit).sum(axis=1) / hit.sum(axis=1)
    out = {f'recall@{k}': hit[:, :k].any(axis=1).mean() for k in (1, 5, 10)}
    return out | {'mrr': (1 / (1 + hit.argmax(axis=1))).mean(), 'map': precision.mean()}
right = rows[None] == numpy.arange(len(i))[:, None]
print(json.dumps({'image->text': figures(i @ t.T, right), 'text->image': figures(t @ i.T, right.T)}))";
    let output = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (direction, figures) in theirs.as_object().unwrap() {
        for (name, value) in figures.as_object().unwrap() {
            let ours = metrics["retrieval"][direction][name].as_f64().unwrap();
            let gap = (ours - value.as_f64().unwrap()).abs();
            assert!(gap < 1e-9, "{direction} {name}: {ours}, Python {value}");
        }
    }
}

/// With labels, every item of the same class is relevant. For 60 test rows in four classes of 15, the
/// recall@1 of a random order is 1/4.
#[test]
fn items_with_the_same_label_can_be_relevant() {
    let sandbox = views("plugin = \"cca\"\n");
    rows(&sandbox, |_, _| true);
    let text = std::fs::read_to_string(sandbox.path("rows.jsonl")).unwrap();
    let mut lines = String::new();
    for (at, line) in text.lines().enumerate() {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["class"] = format!("class {}", at / 5 % 4).into();
        lines.push_str(&format!("{row}\n"));
    }
    sandbox.write("rows.jsonl", lines);
    let label = ["--set", "eval.relevant=label"];
    sandbox.refused(&[&FIT[..], &label].concat(), &["`eval.label` names no column"]);
    fit(&sandbox, &[&label[..], &["--set", "eval.label=class"]].concat());
    let metrics = metrics(&sandbox);
    let scored = &metrics["retrieval"]["a->b"];
    assert_eq!(scored["chance"]["recall@1"], 0.25);
    let of = |name: &str| scored[name].as_f64().unwrap();
    assert!(of("recall@1") > 0.5 && of("map") < of("mrr"), "{scored}");
}

/// The hubness bank adds two columns to the embeddings for each pair of modalities.
#[test]
fn a_bank_of_three_modalities_corrects_every_pair() {
    let sandbox = views("plugin = \"procrustes\"\ndimensions = 6\n");
    rows(&sandbox, |_, _| true);
    fit(&sandbox, &["--set", "score.bank=true"]);
    let ask = ["run", "run", "--a", "1", "--b", "1", "--c", "1", "--format", "json"];
    let banked: Value = serde_json::from_str(&sandbox.good(&ask)).unwrap();
    fit(&sandbox, &[]);
    let plain: Value = serde_json::from_str(&sandbox.good(&ask)).unwrap();
    for (name, _) in VIEWS {
        let width =
            |outputs: &Value| outputs["outputs"][format!("{name}_embeds")][0].as_array().unwrap().len();
        assert_eq!((width(&plain), width(&banked)), (6, 12));
    }
    for pair in ["a->b", "a->c", "b->c"] {
        let score = |outputs: &Value| outputs["scores"][pair][0][0].as_f64().unwrap();
        assert!(score(&banked) < score(&plain), "{pair}: the correction lowers the score");
    }
}

#[test]
fn a_damaged_run_is_refused_and_fitted_again() {
    let sandbox = views("plugin = \"procrustes\"\n");
    rows(&sandbox, |_, _| true);
    fit(&sandbox, &[]);
    let model = std::fs::read(sandbox.path("run/model.onnx")).unwrap();
    let fresh = |sandbox: &Sandbox| -> bool {
        let output = sandbox.call(&[&FIT[..], &["--format", "json"]].concat());
        serde_json::from_str::<Value>(&output.stdout).unwrap()["fresh"].as_bool().unwrap()
    };
    assert!(!fresh(&sandbox), "nothing changed");
    for name in ["run/model.onnx", "run/aligner/a.onnx"] {
        let mut bytes = std::fs::read(sandbox.path(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x80;
        std::fs::write(sandbox.path(name), bytes).unwrap();
        for verb in [&["eval", "run"][..], &["check", "run"], &["run", "run", "--a", "1"]] {
            sandbox.call(verb).refused(name, &[name, "was changed", "fit the run again"]);
        }
        assert!(fresh(&sandbox), "{name} was changed but the run counts as up to date");
    }
    std::fs::remove_file(sandbox.path("run/model.onnx")).unwrap();
    sandbox.call(&["export", "run", "-o", "out"]).refused("no model", &["model.onnx", "cannot be read"]);
    assert!(fresh(&sandbox), "model.onnx is gone but the run counts as up to date");
    assert!(std::fs::read(sandbox.path("run/model.onnx")).unwrap() == model);
}

/// `compare` passes the seed of the recipe to the plugins, as `fit` does.
#[test]
fn a_comparison_uses_the_recipes_seed() {
    let sandbox = views("plugin = \"mlp\"\nsteps = 30\nmembers = 1\nblend = 1.0\n");
    rows(&sandbox, |_, _| true);
    let compare = ["compare", "recipe.toml", "--swap", "seed=0,1", "--folds", "0", "--format", "json"];
    let table: Value = serde_json::from_str(&sandbox.good(&compare)).unwrap();
    let rsum = |at: usize| table["rows"][at]["test"]["rsum"].as_f64().unwrap();
    assert_ne!(rsum(0), rsum(2), "two seeds fitted the same");
    fit(&sandbox, &["--set", "seed=1"]);
    let fitted = metrics(&sandbox)["rsum"].as_f64().unwrap();
    assert!((fitted - rsum(2)).abs() < 1e-9, "fit {fitted}, compare {}", rsum(2));
}

/// The README and the record of an export describe the export, not the run.
#[test]
fn an_export_describes_itself() {
    let sandbox = views("plugin = \"procrustes\"\n");
    rows(&sandbox, |_, _| true);
    fit(&sandbox, &[]);
    sandbox.good(&["export", "run", "--layout", "towers", "-o", "towers"]);
    let page = std::fs::read_to_string(sandbox.path("towers/README.md")).unwrap();
    assert!(!page.contains("model.onnx"), "{page}");
    for (name, _) in VIEWS {
        assert!(page.contains(&format!("| {name}.onnx |")), "{page}");
    }
    let record: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("towers/export.json")).unwrap()).unwrap();
    assert_eq!(record["modalities"].as_array().unwrap().len(), 3);
    // The folder may be moved.
    assert!(record["files"].as_array().unwrap().iter().any(|name| name == "export.json"), "{record}");
    assert!(!sandbox.path("towers/manifest.json").exists());
}
