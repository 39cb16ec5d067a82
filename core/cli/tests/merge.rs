//! Fit, eval, run, search and export on a small world, and the merged model in Python.

mod common;

use common::{Sandbox, contents, json, peers, project};
use serde_json::Value;
use std::{process::Command, time::Duration};

const FIT: [&str; 4] = ["fit", "recipe.toml", "-o", "run"];

fn fitted(scenes: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.world(scenes);
    sandbox.recipe();
    sandbox.good(&FIT);
    sandbox
}

#[test]
fn python_accepts_the_merged_model_and_reproduces_run() {
    let sandbox = fitted(120);
    let text = "a small red circle above a large blue square";
    let output =
        sandbox.good(&["run", "run", "--image", "world/images/3.png", "--text", text, "--format", "json"]);
    sandbox.write("output.json", &output);
    let script = project().join("core/cli/tests/peer/reproduce.py");
    let peer = Command::new(peers())
        .current_dir(sandbox.path(""))
        .arg(script)
        .args(["run", "world/images/3.png", text, "output.json"])
        .output()
        .unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let differences = json(&String::from_utf8_lossy(&peer.stdout));
    let names: Vec<&String> = differences.as_object().unwrap().keys().collect();
    assert_eq!(names, ["fused_embeds", "image_embeds", "text_embeds"]);
    // Two builds of ONNX Runtime in f32, including the preprocessing.
    for (name, difference) in differences.as_object().unwrap() {
        assert!(difference.as_f64().unwrap() < 1e-4, "{name} differs by {difference}");
    }
}

#[test]
fn an_encoder_of_two_modalities_is_stored_once() {
    let sandbox = Sandbox::new();
    sandbox.world(60);
    sandbox.write(
        "recipe.toml",
        "[encoders.first]\nmodel = \"demo-text\"\ncolumn = \"captions\"\nitems = \"first\"\n\
         [encoders.second]\nmodel = \"demo-text\"\ncolumn = \"captions\"\nitems = \"mean\"\n\
         [data]\npairs = \"world/pairs.jsonl\"\n[align]\nplugin = \"procrustes\"\n",
    );
    sandbox.good(&FIT);
    let size = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().len();
    let (merged, encoder) =
        (size(sandbox.path("run/model.onnx")), size(project().join("models/demo-text/model.onnx")));
    // The file holds the encoder once, and two maps.
    assert!(merged < encoder + encoder / 2, "{merged} bytes of an encoder of {encoder}");
    let outputs =
        sandbox.good(&["run", "run", "--first", "a red ring", "--second", "a red ring", "--format", "json"]);
    let outputs = json(&outputs);
    let names: Vec<&String> = outputs["outputs"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["first_embeds", "second_embeds"]);
}

#[test]
fn test_pairs_are_retrieved_and_shuffled_pairs_are_at_chance() {
    let sandbox = fitted(400);
    let metrics = json(&sandbox.good(&["eval", "run", "--format", "json"]));
    let stored = json(&std::fs::read_to_string(sandbox.path("run/metrics.json")).unwrap());
    for direction in ["image->text", "text->image"] {
        let of = |metrics: &Value, key: &str| metrics["retrieval"][direction][key].as_f64().unwrap();
        // Chance is 1/8 for 80 test pairs.
        assert!(of(&metrics, "recall@10") > 0.4, "{direction}: {metrics}");
        let control = metrics["shuffled_pairs"]["retrieval"][direction]["recall@10"].as_f64().unwrap();
        assert!(control < 0.3, "shuffled pairs must lie near chance: {control}");
        // Ties may be broken differently.
        assert!((of(&metrics, "mrr") - of(&stored, "mrr")).abs() < 1e-3);
    }
}

#[test]
fn a_killed_fit_gives_the_same_bytes_when_repeated() {
    let sandbox = Sandbox::new();
    sandbox.world(250);
    sandbox.recipe();
    sandbox.good(&["fit", "recipe.toml", "-o", "undisturbed"]);
    let expected = contents(&sandbox.path("undisturbed"));
    let mut killed = 0;
    for milliseconds in [150, 400, 800, 1200, 1600] {
        let mut child =
            sandbox.chiasm().args(FIT).env("CHIASM_CACHE", sandbox.path("second")).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap(); // SIGKILL
        killed += u32::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "every fit had ended before it was killed");
    let output = sandbox.chiasm().args(FIT).env("CHIASM_CACHE", sandbox.path("second")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let got = contents(&sandbox.path("run"));
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert!(got[name] == *bytes, "{name} differs after a kill");
    }
}

#[test]
fn an_up_to_date_run_is_kept_and_a_changed_recipe_replaces_it() {
    let sandbox = fitted(60);
    let again = json(&sandbox.good(&[&FIT[..], &["--format", "json"]].concat()));
    assert_eq!(again["fresh"], false);
    let changed =
        json(&sandbox.good(&[&FIT[..], &["--set", "align.plugin=procrustes", "--format", "json"]].concat()));
    assert_eq!(changed["fresh"], true);
    let learned = json(&std::fs::read_to_string(sandbox.path("run/aligner/learned.json")).unwrap());
    assert_eq!(learned["plugin"], "procrustes");
}

#[test]
fn frozen_weights_are_unchanged_in_the_merged_model() {
    let sandbox = fitted(60);
    let merged = chiasm_graph::Graph::load(sandbox.path("run/model.onnx")).unwrap();
    let ports: Vec<String> = merged.inputs().iter().map(ToString::to_string).collect();
    let expected = [
        "pixel_values f32[batch,3,64,64]",
        "input_ids i64[batch,sequence]",
        "attention_mask i64[batch,sequence]",
    ];
    assert_eq!(ports, expected);
    let there: std::collections::BTreeSet<String> = merged.weight_hashes().into_values().collect();
    for (name, output) in [("demo-image", "embedding"), ("demo-text", "sentence_embedding")] {
        let model = chiasm_graph::Graph::load(project().join(format!("models/{name}/model.onnx"))).unwrap();
        let used = model.extract(&[output]).unwrap().weight_hashes();
        assert!(!used.is_empty());
        for (weight, hash) in used {
            assert!(there.contains(&hash), "{weight} of {name} changed");
        }
    }
}

#[test]
fn one_modality_alone_gives_its_embedding_and_a_search_finds_pictures() {
    let sandbox = fitted(120);
    let alone = json(&sandbox.good(&[
        "run",
        "run",
        "--text",
        "a red circle",
        "--text",
        "a blue star",
        "--format",
        "json",
    ]));
    assert_eq!(alone["outputs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["text_embeds"]);
    assert_eq!(alone["outputs"]["text_embeds"].as_array().unwrap().len(), 2);
    let search =
        ["search", "run", "--text", "a red circle", "--top", "3", "--strip", "found.png", "--format", "json"];
    let found = json(&sandbox.good(&search));
    let scores: Vec<f64> =
        found.as_array().unwrap().iter().map(|row| row["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 3);
    assert!(scores.windows(2).all(|two| two[0] >= two[1]), "{scores:?}");
    let strip = std::fs::read(sandbox.path("found.png")).unwrap();
    assert!(strip.starts_with(b"\x89PNG"));
}

#[test]
fn a_table_of_raw_items_gives_arrays_of_outputs() {
    let sandbox = fitted(60);
    let rows = r#"{"image": "world/images/1.png", "text": "a red circle"}
{"image": "world/images/2.png", "text": "a star"}
"#;
    sandbox.write("rows.jsonl", rows);
    sandbox.good(&["run", "run", "--input", "rows.jsonl", "-o", "out.npz"]);
    let script =
        "import numpy; a = numpy.load('out.npz'); print(sorted((n, a[n].shape[0]) for n in a.files))";
    let output = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", script]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown.trim(), "[('fused_embeds', 2), ('image_embeds', 2), ('text_embeds', 2)]");
}

#[test]
fn both_layouts_reproduce_the_run() {
    let sandbox = fitted(60);
    sandbox.write("onnx.partial/mine.txt", "not part of the export");
    let bare = Sandbox::new();
    bare.vectors([40, 40]);
    bare.good(&FIT);
    bare.good(&["export", "run", "-o", "copy"]); // this run has no preprocessing
    for (layout, files) in [("onnx", vec!["model.onnx"]), ("towers", vec!["image.onnx", "text.onnx"])] {
        let exported =
            json(&sandbox.good(&["export", "run", "--layout", layout, "-o", layout, "--format", "json"]));
        files.iter().for_each(|file| assert!(sandbox.path(layout).join(file).is_file()));
        for (output, difference) in exported["differences"].as_object().unwrap() {
            assert!(difference.as_f64().unwrap() < 1e-4, "{output} differs by {difference}");
        }
    }
    assert_eq!(
        std::fs::read_to_string(sandbox.path("onnx.partial/mine.txt")).unwrap(),
        "not part of the export"
    );
    let again = sandbox.call(&["export", "run", "--layout", "towers", "-o", "towers"]);
    again.refused("an export over an export", &["towers exists"]);
}

/// The vectors of the export are the first coordinates of those of the run, by NumPy.
#[test]
fn shorter_vectors_are_exported_and_their_effect_is_measured() {
    let fused = fitted(60).call(&["export", "run", "--dimensions", "3", "-o", "short"]);
    fused.refused("a fusion", &["this run has a fusion, which takes whole vectors"]);
    let sandbox = Sandbox::new();
    sandbox.vectors([40, 40]);
    sandbox.good(&FIT);
    let arguments = ["export", "run", "--dimensions", "3", "-o", "short", "--format", "json"];
    let exported = json(&sandbox.good(&arguments));
    let shortened = &exported["shortened"];
    assert_eq!(shortened["dimensions"][1], 3);
    let rsum = |key: &str| shortened[key]["rsum"].as_f64().unwrap();
    assert!(rsum("before") > 0.0 && rsum("after") > 0.0, "{shortened}");
    let script = "import json, numpy as np, onnxruntime as ort
a, b = (ort.InferenceSession(f'{d}/model.onnx', providers=['CPUExecutionProvider']) for d in ('run', 'short'))
kinds, random = {'tensor(int64)': 'int64', 'tensor(int32)': 'int32'}, np.random.default_rng(0)
shape = lambda i: [d if isinstance(d, int) else 2 for d in i.shape]
make = lambda i: np.ones(shape(i), kinds[i.type]) if 'int' in i.type else random.random(shape(i), 'float32')
feed = {i.name: make(i) for i in a.get_inputs()}
whole, short = ({o.name: v for o, v in zip(s.get_outputs(), s.run(None, feed))} for s in (a, b))
gap = 0
for name, v in whole.items():
    cut = v[:, :3] / np.linalg.norm(v[:, :3], axis=1, keepdims=True)
    gap = max(gap, float(np.abs(cut - short[name]).max()))
print(json.dumps([sorted(whole) == sorted(short), gap]))";
    let peer = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", script]).output().unwrap();
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let found = json(&String::from_utf8_lossy(&peer.stdout));
    // The engine may sum in another order: single precision.
    assert!(found[0] == true && found[1].as_f64().unwrap() < 1e-5, "{found}");
    let card = std::fs::read_to_string(sandbox.path("short/README.md")).unwrap();
    assert!(card.contains("Its vectors are the first 3 of"), "{card}");
    for (more, words) in [
        (&["--dimensions", "3", "--weights", "fp16"][..], "cannot be used together"),
        (&["--dimensions", "100000"], "expected fewer than"),
        (&["--dimensions", "0"], "expected fewer than"),
    ] {
        let refused = sandbox.call(&[&["export", "run", "-o", "other"], more].concat());
        refused.refused(words, &[words]);
        assert!(!sandbox.path("other").exists());
    }
}

#[test]
fn reduced_precision_weights_are_smaller_and_their_effect_is_measured() {
    let sandbox = fitted(60);
    // Embeddings are unit vectors; the bounds follow from rounding the weights to 11 or 7 bits.
    for (weights, bits, share, most) in [("fp16", 11, 0.51, 1e-2), ("int8", 7, 0.27, 1e-1)] {
        let exported =
            json(&sandbox.good(&["export", "run", "--weights", weights, "-o", weights, "--format", "json"]));
        let narrow = &exported["narrow"];
        let bytes = |at: usize| narrow["bytes"][at].as_f64().unwrap();
        let lengths = ["run", weights]
            .map(|folder| sandbox.path(folder).join("model.onnx").metadata().unwrap().len() as f64);
        assert!(bytes(1) < share * bytes(0), "{weights}: {} of {}", bytes(1), bytes(0));
        assert!(lengths[1] < (share + 0.1) * lengths[0], "{weights}: {lengths:?}");
        assert!(narrow["before"]["rsum"].as_f64().unwrap() > 300.0, "{narrow}");
        let changed = narrow["after"]["rsum"].as_f64().unwrap() - narrow["before"]["rsum"].as_f64().unwrap();
        assert!(changed.abs() < 30.0, "{weights} of {bits} bits changed rsum by {changed}");
        let differences = exported["differences"].as_object().unwrap();
        let largest = differences.values().map(|d| d.as_f64().unwrap()).fold(0.0, f64::max);
        assert!(largest > 1e-7 && largest < most, "{weights}: {differences:?}");
        let record: Value =
            serde_json::from_slice(&std::fs::read(sandbox.path(weights).join("export.json")).unwrap())
                .unwrap();
        assert_eq!(record, exported);
    }
    // The file is also valid in Python.
    let script = "import numpy, onnxruntime as ort
a, b = (ort.InferenceSession(f'{d}/model.onnx', providers=['CPUExecutionProvider']) for d in ('run', 'fp16'))
kinds = {'tensor(int64)': 'int64', 'tensor(int32)': 'int32'}
shape = lambda i: [d if isinstance(d, int) else 2 for d in i.shape]
make = lambda i: (numpy.ones if 'int' in i.type else numpy.zeros)(shape(i), kinds.get(i.type, 'float32'))
feed = {i.name: make(i) for i in a.get_inputs()}
print(max(float(abs(x - y).max()) for x, y in zip(a.run(None, feed), b.run(None, feed))))";
    let output = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", script]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    let difference: f64 =
        shown.trim().parse().unwrap_or_else(|_| panic!("{shown}{}", String::from_utf8_lossy(&output.stderr)));
    assert!(difference > 0.0 && difference < 1e-2, "{difference}");
}

#[test]
fn the_bank_is_part_of_the_model_and_scores_are_dot_products() {
    let sandbox = fitted(120);
    let ask = ["run", "run", "--image", "world/images/3.png", "--text", "a red circle", "--format", "json"];
    let plain = json(&sandbox.good(&ask));
    sandbox.good(&[&FIT[..], &["--set", "score.bank=true"]].concat());
    let banked = json(&sandbox.good(&ask));
    let width = |value: &Value| value["outputs"]["image_embeds"][0].as_array().unwrap().len();
    assert_eq!(width(&banked), width(&plain) + 2);
    let score = |value: &Value| value["scores"]["image->text"][0][0].as_f64().unwrap();
    assert!(score(&banked) < score(&plain), "the correction lowers the score");
}

#[test]
fn a_plan_embeds_nothing() {
    let sandbox = Sandbox::new();
    sandbox.world(20);
    sandbox.recipe();
    let plan = json(&sandbox.good(&["plan", "recipe.toml", "--format", "json"]));
    assert_eq!((plan["rows"].as_u64(), plan["test"].as_u64()), (Some(20), Some(4)));
    assert!(!sandbox.path("cache").exists() && !sandbox.path("run").exists());
}

#[test]
fn files_of_vectors_merge_without_a_model() {
    let sandbox = Sandbox::new();
    sandbox.vectors([60, 60]);
    sandbox.good(&FIT);
    let metrics = json(&sandbox.good(&["eval", "run", "--format", "json"]));
    assert_eq!((&metrics["rows"], &metrics["items"]["a"]), (&12.into(), &12.into()));
}

#[test]
fn a_card_created_from_a_graph_can_be_used() {
    let sandbox = fitted(60);
    let model = project().join("models/demo-image/model.onnx");
    let model = model.to_str().unwrap();
    let set =
        ["--set", "preprocessing.mean=[0.5, 0.5, 0.5]", "--set", "preprocessing.std=[0.25, 0.25, 0.25]"];
    sandbox.good(&[&["model", "add", model, "--name", "mine", "--into", "mine"][..], &set].concat());
    let inspected =
        json(&sandbox.good(&["model", "inspect", "mine", "--models", "mine", "--format", "json"]));
    assert_eq!(inspected["adapter"], "image");
    sandbox.good(&[&FIT[..], &["--models", "mine", "--set", "encoders.image.model=mine"]].concat());
}

#[test]
fn variants_are_compared_in_one_table() {
    let sandbox = Sandbox::new();
    sandbox.world(100);
    sandbox.recipe();
    let arguments = [
        "compare",
        "recipe.toml",
        "--swap",
        "align.plugin=mean-vector,ridge",
        "--folds",
        "2",
        "--format",
        "json",
    ];
    let table = json(&sandbox.good(&arguments));
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "two variants, each plain and with the bank");
    let rsum = |i: usize| rows[i]["cross_validation"]["rsum"].as_f64().unwrap();
    assert!(
        rsum(2) > rsum(0) + 50.0,
        "ridge must be better than the mean vector: {} and {}",
        rsum(2),
        rsum(0)
    );
}
