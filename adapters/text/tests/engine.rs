//! Compares tails with their formulas, and the real card with the reference tokenizer and engine
//! (tests/reference/real.py). Skipped if an engine or the real models are missing.
#![expect(clippy::unwrap_used, reason = "test")]

use std::path::Path;

use chiasm_plugin::graph::{DType, Graph, Tensor};
use chiasm_plugin::{
    Adapter, DimSpec, EncoderSpec, Item, Json, LEFT_OUT, PortSpec, Services, Signature, json,
};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use chiasm_testing::{Requirement, real_data, skip};
use chiasm_text::TextAdapter;

fn engine() -> Option<&'static Engine> {
    let engine = Engine::open(&EngineSearch::from_environment(None));
    engine.inspect_err(|error| skip(Requirement::Engine, &error.to_string())).ok()
}

fn open(spec: &EncoderSpec) -> TextAdapter {
    TextAdapter::open(spec, &Services::detached(0, 1)).unwrap()
}

/// Two texts of 3 and 1 real tokens, padded to 4: what stands in the padding (NaN would do) must not be seen.
#[test]
fn poolings_ignore_padding() {
    let Some(engine) = engine() else { return };
    let named = |name: &str| DimSpec::Named(name.into());
    let port =
        |name: &str, dtype, dims: Vec<DimSpec>| PortSpec { name: name.into(), dtype, dims: Some(dims) };
    let spec = EncoderSpec {
        name: "test".into(),
        directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference"),
        inputs: ["input_ids", "attention_mask"]
            .map(|name| port(name, DType::I64, vec![named("N"), named("T")]))
            .to_vec(),
        outputs: vec![port("tokens_of_model", DType::F32, vec![named("N"), named("T"), DimSpec::Fixed(2)])],
        ports: json!({
            "tokens": "tokens_of_model",
            "pooled": ["mean", "cls", "max", "gem3", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"],
        }),
        preprocessing: json!({ "tokenizer": "word-piece.json", "max_length": 16 }),
        ..Default::default()
    };
    let tail = open(&spec).tail().unwrap();
    let session = engine.session(&tail, &SessionOptions::default()).unwrap();
    let real = [vec![[1.0, -4.0], [3.0, 2.0], [2.0, 8.0]], vec![[-5.0, 0.5]]];
    let padding = 99.0;
    let mut tokens = Vec::new();
    for text in &real {
        let padded = text.iter().flatten().copied().chain(std::iter::repeat(padding));
        tokens.extend(padded.take(8));
    }
    let tokens = Tensor::f32(&[2, 4, 2], tokens).unwrap();
    let mask = Tensor::i64(&[2, 4], vec![1, 1, 1, 0, 1, 0, 0, 0]).unwrap();
    let outputs = session.run(&[("tokens_of_model", &tokens), ("attention_mask", &mask)]).unwrap();
    let output =
        |name: &str| outputs.iter().find(|(own, _)| own == name).unwrap().1.as_f32().unwrap().to_vec();
    assert_eq!(output("mask"), [1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(output("tokens"), tokens.as_f32().unwrap());

    let mut expected: Vec<f32> = Vec::new();
    for text in &real {
        let over =
            |f: &dyn Fn(Vec<f32>) -> f32| [0, 1].map(|d| f(text.iter().map(|token| token[d]).collect()));
        let count = text.len() as f32;
        expected.extend(over(&|x| x.iter().sum::<f32>() / count));
        expected.extend(text[0]);
        expected.extend(over(&|x| x.into_iter().fold(f32::MIN, f32::max)));
        expected.extend(over(&|x| (x.iter().map(|v| v.max(1e-6).powi(3)).sum::<f32>() / count).cbrt()));
        expected.extend(text.last().unwrap());
        let places = || 1..=text.len();
        let total = places().sum::<usize>() as f32;
        expected.extend(over(&|x| x.iter().zip(places()).map(|(v, t)| v * t as f32).sum::<f32>() / total));
        expected.extend(over(&|x| x.iter().sum::<f32>() / count.sqrt()));
    }
    let pooled = output("pooled");
    // A few f32 roundings of numbers below ten.
    let close = |(a, b): (&f32, &f32)| (a - b).abs() < 2e-6;
    assert!(
        pooled.len() == expected.len() && pooled.iter().zip(&expected).all(close),
        "{pooled:?} {expected:?}"
    );
}

/// The bytes of a safetensors file with `linear.weight` [3, 2] and `linear.bias` [3].
fn dense_layer() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},
        "linear.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},
        "linear.bias":{"dtype":"F32","shape":[3],"data_offsets":[24,36]}}"#;
    let numbers = [0.5_f32, -1.0, 2.0, 0.25, -0.75, 1.5, 0.1, 0.2, -0.3];
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// A model without a mask, last-token pooling, and a dense layer: tanh(W x / |x| + b) by hand.
#[test]
fn a_dense_layer_follows_the_pooling() {
    let Some(engine) = engine() else { return };
    let folder = std::env::temp_dir().join(format!("chiasm-dense-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("dense.safetensors"), dense_layer()).unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/word-piece.json");
    std::fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
    let named = |name: &str| DimSpec::Named(name.into());
    let port =
        |name: &str, dtype, dims: Vec<DimSpec>| PortSpec { name: name.into(), dtype, dims: Some(dims) };
    let layer = json!({ "weights": "dense.safetensors", "activation": "tanh", "normalise": true });
    let spec = EncoderSpec {
        name: "test".into(),
        directory: folder.clone(),
        inputs: vec![port("input_ids", DType::I64, vec![named("N"), named("T")])],
        outputs: vec![port("hidden", DType::F32, vec![named("N"), named("T"), DimSpec::Fixed(2)])],
        ports: json!({ "tokens": "hidden", "pooled": "lasttoken", "dense": [layer] }),
        preprocessing: json!({ "tokenizer": "tokenizer.json", "max_length": 16 }),
        ..Default::default()
    };
    let adapter = open(&spec);
    assert_eq!(adapter.inputs()[0].pad, None, "without a mask, nothing may be padded");
    let tail = adapter.tail().unwrap();
    assert_eq!(tail.outputs()[2].to_string(), "pooled f32[batch,3]");
    let session = engine.session(&tail, &SessionOptions::default()).unwrap();
    let tokens = Tensor::f32(&[1, 3, 2], vec![9.0, 9.0, 7.0, 7.0, 3.0, -4.0]).unwrap();
    let outputs = session.run_outputs(&[("hidden", &tokens)], &["pooled"]).unwrap();
    let x: [f64; 2] = [0.6, -0.8];
    let weight = [[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]];
    let expected =
        weight.iter().zip([0.1, 0.2, -0.3]).map(|(row, b)| (row[0] * x[0] + row[1] * x[1] + b).tanh());
    for (got, expected) in outputs[0].1.as_f32().unwrap().iter().zip(expected) {
        // A few f32 roundings of numbers below two.
        assert!((f64::from(*got) - expected).abs() < 1e-6, "{got} {expected}");
    }
    // Damaged and unfitting files are refused when the adapter opens.
    let refused = |bytes: &[u8]| {
        std::fs::write(folder.join("dense.safetensors"), bytes).unwrap();
        TextAdapter::open(&spec, &Services::detached(0, 1)).err().unwrap().message().to_owned()
    };
    let whole = dense_layer();
    assert!(refused(&whole[..whole.len() - 4]).contains("beyond the end"));
    assert!(refused(&whole[..5]).contains("not a safetensors file"));
    let at = whole.windows(5).position(|window| window == b"[3,2]").unwrap();
    let turned = [&whole[..at], b"[2,3]", &whole[at + 5..]].concat();
    assert!(refused(&turned).contains("it takes 3 numbers, but the pooled vector has 2"));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The same token ids in the same engine: only the order of sums in a batch differs (cosine above 0.99999).
#[test]
fn the_card_embeds_as_the_reference_does() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(folder) = real_data("models/minilm-l6") else { return };
    let Some(engine) = engine() else { return };
    let card = std::fs::read_to_string(project.join("models/minilm-l6/card.toml")).unwrap();
    let card: Json = toml::from_str(&card).unwrap();
    let path = folder.join(card["model"].as_str().unwrap());
    let signature = Signature::of(&Graph::load(&path).unwrap());
    let drafted = TextAdapter::draft(&signature, &folder).unwrap().unwrap();
    assert_eq!(drafted.ports, card["ports"]);
    let adapter = open(&EncoderSpec {
        name: "minilm-l6".into(),
        directory: folder,
        inputs: signature.inputs,
        outputs: signature.outputs,
        ports: card["ports"].clone(),
        preprocessing: card["preprocessing"].clone(),
        ..Default::default()
    });
    let session = engine.session(path.as_path(), &SessionOptions::default()).unwrap();
    let names: Vec<String> = adapter.inputs().into_iter().map(|input| input.name).collect();
    let pairs = std::fs::read_to_string(chiasm_testing::real_folder().join("flickr1k/pairs.jsonl")).unwrap();
    let pairs: Vec<&str> = pairs.lines().collect();
    let reference = project.join("adapters/text/tests/reference");
    let golden = std::fs::read(reference.join("real.bin")).unwrap();
    let cases: Vec<Json> =
        serde_json::from_str(&std::fs::read_to_string(reference.join("real.json")).unwrap()).unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let pair: Json = serde_json::from_str(pairs[number("row")]).unwrap();
        let rows = adapter.prepare(Item::Text(pair["captions"][0].as_str().unwrap())).unwrap();
        let rows: Vec<Tensor> =
            rows.into_iter().map(|row| row.clone().reshaped(&[1, row.len()]).unwrap()).collect();
        let feeds = names.iter().map(String::as_str).zip(&rows);
        let feeds: Vec<(&str, &Tensor)> = feeds.filter(|(name, _)| *name != LEFT_OUT).collect();
        let outputs = session.run_outputs(&feeds, &["sentence_embedding"]).unwrap();
        let got = outputs[0].1.as_f32().unwrap();
        let bytes = &golden[number("offset")..][..4 * number("dim")];
        let expected = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let cosine: f32 = got.iter().zip(expected).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.99999, "row {}: cosine {cosine}", number("row"));
    }
}
