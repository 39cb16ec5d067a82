//! Vectors that depend on the batch of their item: texts without a mask are not padded, and a fit measures
//! what remains.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Tensor};
use common::{CommandOutput, RandomNumbers, Sandbox, json, npy, project};

const FIT: [&str; 6] = ["fit", "recipe.toml", "-o", "run", "--models", "models"];

/// Writes 40 vectors, and the recipe and pairs that join them to items of a modality `item`.
fn pairs(sandbox: &Sandbox, items: &[String]) {
    let mut random = RandomNumbers(9);
    let vectors: Vec<f32> = (0..items.len() * 4).map(|_| random.next()).collect();
    sandbox.write("v.npy", npy(items.len(), 4, &vectors));
    let row =
        |(index, item): (usize, &String)| format!("{}\n", serde_json::json!({ "item": item, "v": index }));
    sandbox.write("pairs.jsonl", items.iter().enumerate().map(row).collect::<String>());
    sandbox.write(
        "recipe.toml",
        "[encoders.item]\nmodel = \"mine\"\n[encoders.v]\nvectors = \"v.npy\"\n[data]\npairs = \
         \"pairs.jsonl\"\n[align]\nplugin = \"mean-vector\"\n",
    );
}

/// Fits, whatever the checks say about maps between random vectors.
fn fitted(sandbox: &Sandbox) -> CommandOutput {
    let output = sandbox.call(&FIT);
    assert!(sandbox.path("run/manifest.json").is_file(), "{}", output.stderr);
    output
}

/// A text model without a mask: each token is a row of a table.
#[test]
fn a_text_without_a_mask_has_one_vector_whatever_is_beside_it() {
    let sandbox = Sandbox::new();
    let mut random = RandomNumbers(1);
    let mut b = Builder::new("text");
    let ids = b.input("input_ids", DType::I64, &[Dim::named("n"), Dim::named("t")]).unwrap();
    let rows = (0..2000 * 6).map(|_| random.next()).collect();
    let table = b.constant("table", Tensor::f32(&[2000, 6], rows).unwrap());
    let tokens = b.gather(&table, &ids, 0);
    b.output("last_hidden_state", &tokens, DType::F32, &[Dim::named("n"), Dim::named("t"), 6.into()]);
    std::fs::create_dir_all(sandbox.path("onnx")).unwrap();
    b.finish().unwrap().save(sandbox.path("onnx/model.onnx")).unwrap();
    let tokenizer = project().join("adapters/text/tests/reference/word-piece.json");
    std::fs::copy(tokenizer, sandbox.path("onnx/tokenizer.json")).unwrap();
    sandbox.good(&["model", "add", "onnx/model.onnx", "--name", "mine", "--into", "models"]);
    let text = |index: usize| ["a child", "runs", "two dogs on the beach"].repeat(1 + index % 7).join(" ");
    let texts: Vec<String> = (0..40).map(|index| format!("{index} {}", text(index))).collect();
    pairs(&sandbox, &texts);
    fitted(&sandbox);
    let effect = &json(&std::fs::read_to_string(sandbox.path("run/metrics.json")).unwrap())["batch_effects"];
    let effect = &effect["item/mine"];
    assert!(effect["rows"].as_u64().unwrap() > 1, "{effect}");
    for pass in ["alone", "together", "reordered"] {
        // Only the order of sums may differ.
        assert!(effect[pass].as_f64().unwrap() < 1e-6, "{effect}");
    }
    let embed = |texts: &[&str]| -> Vec<f64> {
        let flags: Vec<&str> = texts.iter().flat_map(|text| ["--item", text]).collect();
        let out = json(&sandbox.good(&[&["run", "run", "--format", "json"], &flags[..]].concat()));
        serde_json::from_value(out["outputs"]["item_embeds"][0].clone()).unwrap()
    };
    let (alone, beside) = (embed(&["a child"]), embed(&["a child", &texts[6]]));
    let worst = alone.iter().zip(&beside).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-6, "alone and beside a longer text: {worst}");
}

/// Adds a picture model whose vectors contain `share` of the sum over the batch, with alternating signs.
fn depends_on_batch(sandbox: &Sandbox, share: f32) {
    let mut b = Builder::new("image");
    let x = b.input("pixels", DType::F32, &[Dim::named("n"), 3.into(), 4.into(), 4.into()]).unwrap();
    let flat = b.reshape(&x, &[0, 48]);
    let sum = b.reduce_sum(&flat, &[0], true);
    let signs = (0..48).map(|column| if column % 2 == 0 { share } else { -share }).collect();
    let signs = b.constant("signs", Tensor::f32(&[48], signs).unwrap());
    let part = b.mul(&sum, &signs);
    let vectors = b.add(&flat, &part);
    b.output("embedding", &vectors, DType::F32, &[Dim::named("n"), 48.into()]);
    std::fs::create_dir_all(sandbox.path("onnx")).unwrap();
    b.finish().unwrap().save(sandbox.path("onnx/model.onnx")).unwrap();
    sandbox.good(&["model", "add", "onnx/model.onnx", "--name", "mine", "--into", "models"]);
    sandbox.world(30);
    pairs(sandbox, &(0..30).map(|index| format!("world/images/{index}.png")).collect::<Vec<_>>());
}

/// The merged model and its parts agree on every batch of one, so only embedding again shows the effect.
#[test]
fn a_small_effect_of_the_batch_is_measured_and_told() {
    let sandbox = Sandbox::new();
    depends_on_batch(&sandbox, 3e-4);
    let output = fitted(&sandbox);
    assert!(output.stderr.contains("warning: item/mine: the vector of an item changes"), "{}", output.stderr);
    let evaluated = json(&sandbox.good(&["eval", "run", "--format", "json"]));
    let alone = evaluated["batch_effects"]["item/mine"]["alone"].as_f64().unwrap();
    assert!((1e-4..0.1).contains(&alone), "{alone}");
    let checks = json(&std::fs::read_to_string(sandbox.path("run/checks.json")).unwrap());
    let stored = checks["merged"]["batch_effects"]["item/mine"]["alone"].as_f64().unwrap();
    // Both are the same number in single precision.
    assert!((stored - alone).abs() < 1e-9, "{stored} {alone}");
    let table = sandbox.good(&["eval", "run"]);
    assert!(table.contains("item/mine: the vector of an item changes with its batch"), "{table}");
}

#[test]
fn a_large_effect_of_the_batch_ends_the_fit() {
    let sandbox = Sandbox::new();
    depends_on_batch(&sandbox, 1.0);
    let output = sandbox.call(&FIT);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let message = output.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
    for word in ["item/mine: the vector of an item changes", "the limit is 0.1", "no run folder was written"]
    {
        assert!(message.contains(word), "{message}");
    }
    sandbox.assert_no_run("a large effect");
}
