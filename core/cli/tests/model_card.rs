//! The model card of runs and exports: its front matter, its Python program and its words; and `inspect`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Sandbox, json, peers, project};
use serde_json::Value;
use sha2::Digest;
use std::process::Command;

const TEXT: &str = "a small red circle above a large blue square, and \u{e9}\u{4e2d}";

/// Two builds of ONNX Runtime in f32, including the preparation of the items.
fn agree(read: &Value, names: &[&str]) {
    let differences = read["differences"].as_object().unwrap();
    assert_eq!(differences.keys().collect::<Vec<_>>(), names);
    for (name, difference) in differences {
        assert!(difference.as_f64().unwrap() < 1e-4, "{name} differs by {difference}");
    }
}

/// Writes a picture of another size than the encoder's.
fn picture(sandbox: &Sandbox) -> String {
    let wave =
        |x: u32, y: u32, by: f32| (127.0 + 120.0 * ((x as f32 / by).sin() * (y as f32 / 9.0).cos())) as u8;
    let picture = image::RgbaImage::from_fn(150, 101, |x, y| {
        image::Rgba([wave(x, y, 7.0), wave(y, x, 11.0), wave(x + y, y, 23.0), (x + y) as u8])
    });
    let path = sandbox.write("mine.png", "");
    picture.save(&path).unwrap();
    path.display().to_string()
}

fn fitted() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.world(120);
    sandbox.recipe();
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    sandbox
}

#[test]
fn the_program_of_a_card_reproduces_run() {
    let sandbox = fitted();
    let image = picture(&sandbox);
    let output = sandbox.good(&["run", "run", "--image", &image, "--text", TEXT, "--format", "json"]);
    let read = sandbox.card_in_python("run", &output, &[&image, TEXT]);
    agree(&read, &["fused_embeds", "image_embeds", "text_embeds"]);
    assert!(read["printed"].as_str().unwrap().contains("score of image and text:"), "{read}");
    let front = &read["front"];
    assert_eq!(front["license"], "apache-2.0", "{front}");
    assert_eq!(front["base_model"], serde_json::json!(["demo-image", "demo-text"]));
    assert_eq!(front["base_model_relation"], "merge");
    assert_eq!(front["pipeline_tag"], "zero-shot-image-classification");
    // The metrics of the front matter are those of the run, to four digits.
    let metrics = json(&std::fs::read_to_string(sandbox.path("run/metrics.json")).unwrap());
    let recall = metrics["retrieval"]["image->text"]["recall@1"].as_f64().unwrap();
    let stated = read["results"].as_array().unwrap().iter().find(|one| one[2] == "recall_at_1").unwrap();
    assert!((stated[3].as_f64().unwrap() - recall).abs() <= 5e-5, "{stated} {recall}");
    // The file of results holds the same values, four for each of two directions.
    let (stored, results) = (read["stored"].as_array().unwrap(), read["results"].as_array().unwrap());
    assert_eq!(stored.len(), 8, "{read}");
    for (entry, result) in stored.iter().zip(results) {
        assert_eq!((&entry[0], &entry[2]), (&result[1], &result[3]), "{read}");
    }
    assert!(stored.iter().any(|entry| entry[1] == "image->text recall_at_1"), "{read}");
    let card = std::fs::read_to_string(sandbox.path("run/README.md")).unwrap();
    for words in ["## How to run it", "| image-\\>text |", "Apache-2.0", "(model.svg)"] {
        assert!(card.contains(words), "no {words:?} in {card}");
    }
    for line in card.lines().filter(|line| line.starts_with('|')) {
        assert!(!line.contains("| |") && !line.contains("NaN"), "{line}");
    }
}

#[test]
fn the_program_of_an_export_reproduces_run() {
    let sandbox = fitted();
    let image = picture(&sandbox);
    let output = sandbox.good(&["run", "run", "--image", &image, "--text", TEXT, "--format", "json"]);
    sandbox.good(&["export", "run", "--layout", "towers", "-o", "towers"]);
    let read = sandbox.card_in_python("towers", &output, &[&image, TEXT]);
    agree(&read, &["image_embeds", "text_embeds"]);
    sandbox.good(&["export", "run", "--weights", "fp16", "-o", "narrow"]);
    let read = sandbox.card_in_python("narrow", &output, &[&image, TEXT]);
    // Half precision has 11 bits; the card states what was measured with it.
    for (name, difference) in read["differences"].as_object().unwrap() {
        assert!(difference.as_f64().unwrap() < 2e-2, "{name} differs by {difference}");
    }
    // The front matter and the file of results state what was measured with the narrow weights.
    let export = json(&std::fs::read_to_string(sandbox.path("narrow/export.json")).unwrap());
    let recall = &export["narrow"]["after"]["retrieval"]["image->text"]["recall@1"];
    for stated in [&read["stored"][0][2], &read["results"][0][3]] {
        let apart = stated.as_f64().unwrap() - recall.as_f64().unwrap();
        assert!(apart.abs() <= 5e-5, "{stated} {recall} (four digits)");
    }
    let card = std::fs::read_to_string(sandbox.path("narrow/README.md")).unwrap();
    assert!(card.contains("Its weights are stored as fp16"), "{card}");
    assert!(!card.contains(".svg"), "an export has no plots: {card}");
}

#[test]
fn the_program_of_a_run_on_vectors_reproduces_run() {
    let sandbox = Sandbox::new();
    sandbox.vectors([60, 60]);
    sandbox.good(&["fit", "recipe.toml", "-o", "run"]);
    let output = sandbox.good(&["run", "run", "--a", "7", "--b", "3", "--format", "json"]);
    let [a, b] = ["a.npy:7", "b.npy:3"].map(|item| sandbox.path(item).display().to_string());
    let read = sandbox.card_in_python("run", &output, &[&a, &b]);
    agree(&read, &["a_embeds", "b_embeds"]);
    assert_eq!(read["front"]["license"], "unknown");
    assert!(read["front"].get("base_model").is_none());
}

/// Copies the demo's encoders with other `[preprocessing]` tables and texts that are not plain.
fn other_cards(sandbox: &Sandbox, image: &str, text: &str) {
    for (name, lines) in [("demo-image", image), ("demo-text", text)] {
        let from = project().join("models").join(name);
        let card = std::fs::read_to_string(from.join("card.toml")).unwrap();
        let (head, tables) = card.split_once("[ports]").unwrap();
        let (ports, _) = tables.split_once("[preprocessing]").unwrap();
        let head: String = head
            .lines()
            .filter(|line| !line.starts_with("licence") && !line.starts_with("source"))
            .fold(String::new(), |all, line| format!("{all}{line}\n"));
        let text = "licence = \"MIT\\n---\\nx: [\\\"\"\nsource = \"<b>| `x`\\u0085 \u{202e}\"\n";
        let card = format!("{head}{text}[ports]{ports}[preprocessing]\n{lines}");
        sandbox.write(&format!("cards/{name}/card.toml"), card);
        for file in ["model.onnx", "tokenizer.json"].iter().filter(|file| from.join(file).is_file()) {
            std::fs::copy(from.join(file), sandbox.path(&format!("cards/{name}/{file}"))).unwrap();
        }
    }
}

#[test]
fn other_preparations_and_texts_of_strangers_are_written_safely() {
    let tables = [
        (
            "size = [64, 64]\nresize = \"shortest-side-crop\"\nshortest = 77\nfilter = \"lanczos\"\n\
             channels = \"bgr\"\nscale = 1.0\nmean = [104, 117, 123]\nstd = [58.5, 57, 60]\norient = true\n",
            "tokenizer = \"tokenizer.json\"\nmax_length = 7\n\
             prefix = \"QUERY \\\"a\\\": \"\nlowercase = true\n",
        ),
        (
            "size = [64, 64]\nresize = \"stretch-crop\"\nshortest = 80\nfilter = \"box\"\n",
            "tokenizer = \"tokenizer.json\"\nmax_length = 64\n",
        ),
    ];
    for (image_table, text_table) in tables {
        let sandbox = Sandbox::new();
        sandbox.world(60);
        let data = "world/a \"b\" c: #.jsonl";
        std::fs::rename(sandbox.path("world/pairs.jsonl"), sandbox.path(data)).unwrap();
        other_cards(&sandbox, image_table, text_table);
        let recipe = std::fs::read_to_string(sandbox.recipe()).unwrap();
        let recipe = recipe.replace("\"world/pairs.jsonl\"", &format!("'{data}'"));
        sandbox.write("recipe.toml", recipe);
        sandbox.good(&["fit", "recipe.toml", "-o", "run", "--models", "cards", "--allow-unknown"]);
        let image = picture(&sandbox);
        let output = sandbox.good(&["run", "run", "--image", &image, "--text", TEXT, "--format", "json"]);
        let read = sandbox.card_in_python("run", &output, &[&image, TEXT]);
        agree(&read, &["fused_embeds", "image_embeds", "text_embeds"]);
        assert_eq!(read["front"]["license"], "other");
        assert_eq!(read["front"]["license_name"], "MIT\n---\nx: [\"");
        assert_eq!(read["results"][0][1], "a \"b\" c: #.jsonl");
        let card = std::fs::read_to_string(sandbox.path("run/README.md")).unwrap();
        assert!(!card.contains("<b>") && !card.contains('\u{202e}') && !card.contains('\u{85}'), "{card}");
    }
}

#[test]
fn inspect_shows_files_runs_and_cards() {
    let sandbox = fitted();
    let run = json(&sandbox.good(&["inspect", "run", "--format", "json"]));
    assert_eq!(run["encoders"][0]["licence"], "Apache-2.0");
    assert_eq!(run["licence"], "apache-2.0");
    let digest = json(&std::fs::read_to_string(sandbox.path("run/manifest.json")).unwrap());
    assert_eq!(run["model"]["model"]["sha256"], digest["outputs"]["model.onnx"]);
    let model = json(&sandbox.good(&["inspect", "run/model.onnx", "--format", "json"]));
    assert_eq!(model["inputs"], run["model"]["inputs"]);
    let graph = chiasm_graph::Graph::load(sandbox.path("run/model.onnx")).unwrap();
    let elements = |name: &str| graph.weight(name).unwrap().shape().iter().product::<usize>() as u64;
    let total: u64 = graph.weight_names().map(elements).sum();
    let counted: u64 =
        model["parameters"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(counted, total);
    let text = sandbox.good(&["inspect", "run/model.onnx", "--graph"]);
    assert!(text.contains("pixel_values") && text.contains("MatMul"), "{text:.500}");

    sandbox.good(&["inspect", "run", "--svg", "drawn.svg"]);
    let drawn = std::fs::read_to_string(sandbox.path("drawn.svg")).unwrap();
    assert_eq!(drawn, std::fs::read_to_string(sandbox.path("run/model.svg")).unwrap());
    for word in ["demo-image", "demo-text", "ridge", "concat", "fused_embeds", "text_embeds"] {
        assert!(drawn.contains(word), "no {word} in {drawn}");
    }
    let card = project().join("models/demo-text/card.toml").display().to_string();
    let shown = json(&sandbox.good(&["inspect", &card, "--format", "json"]));
    assert_eq!((&shown["card"]["name"], &shown["matches"]), (&"demo-text".into(), &true.into()));
    assert!(sandbox.good(&["inspect", &card]).contains("has the digest of the card"));
    let refused = sandbox.call(&["inspect", "run/model.onnx", "--svg", "other.svg"]);
    refused.refused("a drawing of a file", &["give a run folder"]);
    sandbox.call(&["inspect", "nowhere.onnx"]).refused("no file", &["nowhere.onnx"]);
}

/// Reads ONNX files with the package `onnx`: the names of the ports, and how often each operator is used.
const READ_MODELS: &str = "
import collections, json, sys, onnx
found = {}
for path in sys.argv[1:]:
    graph = onnx.load(path).graph
    ports = [[port.name for port in side] for side in (graph.input, graph.output)]
    found[path] = [*ports, collections.Counter(node.op_type for node in graph.node)]
print(json.dumps(found))
";

#[test]
fn inspect_shows_exports_of_all_layouts() {
    let sandbox = fitted();
    let run = json(&sandbox.good(&["inspect", "run", "--format", "json"]));
    let layouts = ["onnx", "towers", "hf", "triton", "sentence-transformers", "transformers.js"];
    for layout in layouts {
        sandbox.good(&["export", "run", "--layout", layout, "-o", layout]);
        let shown = json(&sandbox.good(&["inspect", layout, "--format", "json"]));
        // What is said of the run is what `inspect RUN` says.
        for key in ["chiasm", "engine", "seed", "key", "aligner", "licence", "licence_consequence", "rsum"] {
            assert_eq!(shown[key], run[key], "{layout}: {key}");
        }
        for (own, of_run) in
            shown["encoders"].as_array().unwrap().iter().zip(run["encoders"].as_array().unwrap())
        {
            for key in
                ["modality", "name", "adapter", "licence", "source", "sha256", "pooled", "preprocessing"]
            {
                assert_eq!(own[key], of_run[key], "{layout}: {key}");
            }
        }
        // Each file but export.json is listed with its digest.
        let listed = shown["files"].as_array().unwrap();
        let all = common::contents(&sandbox.path(layout));
        assert_eq!(listed.len() + 1, all.len(), "{layout}: {listed:?}");
        for file in listed {
            let content = &all[file["file"].as_str().unwrap()];
            let digest: String = sha2::Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(
                (&file["sha256"], &file["bytes"]),
                (&digest.into(), &content.len().into()),
                "{layout}"
            );
        }
        let models = shown["models"].as_object().unwrap();
        assert_eq!(all.keys().filter(|name| name.ends_with(".onnx")).count(), models.len(), "{layout}");
        assert_models(&sandbox, layout, models);
        let text = sandbox.good(&["inspect", layout, "--graph"]);
        for file in models.keys() {
            assert_eq!(text.contains(&format!("file {file}\n")), models.len() > 1, "{layout}: {text:.300}");
        }
        sandbox.good(&["inspect", layout, "--svg", "drawn.svg"]);
        let drawn = std::fs::read_to_string(sandbox.path("drawn.svg")).unwrap();
        let whole = ["onnx", "triton"].contains(&layout);
        assert_eq!(drawn == std::fs::read_to_string(sandbox.path("run/model.svg")).unwrap(), whole);
        assert!(drawn.contains("demo-image") && drawn.contains("text_embeds"), "{drawn}");
        assert_eq!(drawn.contains("fused_embeds"), whole, "{layout}");
        let text = sandbox.good(&["inspect", layout]);
        for words in ["This is an export of a Chiasm run", "Apache-2.0", "A picture is decoded", "rsum"] {
            assert!(text.contains(words), "{layout}: no {words:?} in {text}");
        }
    }
}

/// The ports and operators of each model are those that the package `onnx` reads.
fn assert_models(sandbox: &Sandbox, layout: &str, models: &serde_json::Map<String, Value>) {
    let paths: Vec<_> = models.keys().map(|file| sandbox.path(layout).join(file)).collect();
    let read = Command::new(peers()).args(["-c", READ_MODELS]).args(&paths).output().unwrap();
    let read = json(&String::from_utf8_lossy(&read.stdout));
    for (model, path) in models.values().zip(&paths) {
        let read = &read[path.display().to_string()];
        assert_eq!(model["operators"], read[2], "{layout}");
        for (at, side) in ["inputs", "outputs"].into_iter().enumerate() {
            let name = |port: &Value| port.as_str().unwrap().split(' ').next().unwrap().to_owned();
            let names: Vec<String> = model[side].as_array().unwrap().iter().map(name).collect();
            assert_eq!(Value::from(names), read[at], "{layout}");
        }
    }
}

#[test]
fn inspect_refuses_folders_that_are_no_whole_export() {
    let sandbox = fitted();
    sandbox.good(&["export", "run", "--layout", "towers", "-o", "towers"]);
    let model = sandbox.path("towers/text.onnx");
    let mut bytes = std::fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&model, &bytes).unwrap();
    sandbox
        .call(&["inspect", "towers"])
        .refused("changed", &["towers/text.onnx was changed", "export the run"]);
    std::fs::remove_file(&model).unwrap();
    sandbox.call(&["inspect", "towers"]).refused("missing", &["towers/text.onnx cannot be read"]);
    let record = json(&std::fs::read_to_string(sandbox.path("towers/export.json")).unwrap());
    let mut older = record.clone();
    older.as_object_mut().unwrap().remove("digests");
    sandbox.write("towers/export.json", older.to_string());
    sandbox
        .call(&["inspect", "towers"])
        .refused("older", &["missing field `digests`", "export the run again"]);
    let mut outside = record;
    outside["models"][0] = "../run/model.onnx".into();
    sandbox.write("towers/export.json", outside.to_string());
    sandbox.call(&["inspect", "towers"]).refused("outside", &["has `..`", "export the run again"]);
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    let words = ["is neither a run nor an export", "manifest.json", "export.json"];
    sandbox.call(&["inspect", "empty"]).refused("empty", &words);
}
