//! The adapter as a host sees it: cards, mistakes in cards, tails run by the engine.
#![expect(clippy::unwrap_used, reason = "test")]

use std::path::{Path, PathBuf};

use chiasm_image::ImageAdapter;
use chiasm_plugin::graph::{DType, Tensor};
use chiasm_plugin::{Adapter, DimSpec, EncoderSpec, Item, Json, PortSpec, Services, Signature, json};
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};
use chiasm_testing::{Requirement, skip};

fn port(name: &str, dtype: DType, dims: &[i64]) -> PortSpec {
    let dim = |length: &i64| match usize::try_from(*length) {
        Ok(length) => DimSpec::Fixed(length),
        Err(_) => DimSpec::Named(format!("free{length}")),
    };
    PortSpec { name: name.into(), dtype, dims: Some(dims.iter().map(dim).collect()) }
}

/// A model with a feature map of 3 channels, tokens of 4 numbers, and a pooled vector stored as [N,2,1,1] in
/// half precision.
fn spec(ports: Json, preprocessing: Json) -> EncoderSpec {
    EncoderSpec {
        name: "test".into(),
        inputs: vec![port("image", DType::F32, &[-1, 3, -2, -3])],
        outputs: vec![
            port("features", DType::F32, &[-1, 3, -4, -5]),
            port("hidden", DType::F32, &[-1, -6, 4]),
            port("embedding", DType::F16, &[-1, 2, 1, 1]),
        ],
        ports,
        preprocessing,
        ..Default::default()
    }
}

fn open(spec: &EncoderSpec) -> Result<ImageAdapter, String> {
    ImageAdapter::open(spec, &Services::detached(0, 1)).map_err(|error| error.message().to_owned())
}

fn small() -> Json {
    json!({ "size": [4, 6] })
}

fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pictures").join(name)
}

/// Runs a card's tail on inputs; without an engine the test is skipped.
fn run(spec: &EncoderSpec, inputs: &[(&str, &Tensor)]) -> Option<Vec<(String, Tensor)>> {
    let engine = Engine::open(&EngineSearch::from_environment(None));
    let engine = engine.inspect_err(|error| skip(Requirement::Engine, &error.to_string())).ok()?;
    let tail = open(spec).unwrap().tail().unwrap();
    let session = engine.session(&tail, &SessionOptions::default()).unwrap();
    Some(session.run(inputs).unwrap())
}

fn numbers(outputs: &[(String, Tensor)], name: &str) -> (Vec<usize>, Vec<f32>) {
    let (_, tensor) = outputs.iter().find(|(own, _)| own == name).unwrap();
    (tensor.shape().to_vec(), tensor.as_f32().unwrap().to_vec())
}

fn assert_close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    // f32 sums of six numbers and one cube root: a few roundings of 6e-8 relative.
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * (1.0 + b.abs());
    assert!(got.iter().zip(expected).all(close), "{got:?} is not {expected:?}");
}

/// Each pooling by its formula over the positions of a 2 x 3 map, concatenated in the card's order.
#[test]
fn a_feature_map_becomes_tokens_and_its_poolings_are_concatenated() {
    let value = |b: usize, c: usize, t: usize| ((b * 18 + c * 6 + t) as f32 * 0.7).sin() + 0.5 * c as f32;
    let map: Vec<f32> = (0..36).map(|i| value(i / 18, i / 6 % 3, i % 6)).collect();
    let map = Tensor::f32(&[2, 3, 2, 3], map).unwrap();
    let halves = [0.5, -1.0, 2.0, 0.25].map(half::f16::from_f32).to_vec();
    let embedding = Tensor::f16(&[2, 2, 1, 1], halves).unwrap();
    let card = spec(json!({ "tokens": "features", "pooled": ["embedding", "mean", "max", "gem3"] }), small());
    let Some(outputs) = run(&card, &[("features", &map), ("embedding", &embedding)]) else { return };

    let (shape, tokens) = numbers(&outputs, "tokens");
    assert_eq!(shape, [2, 6, 3]);
    let expected: Vec<f32> = (0..36).map(|i| value(i / 18, i % 3, i / 3 % 6)).collect();
    assert_close(&tokens, &expected);
    assert_eq!(numbers(&outputs, "mask"), (vec![2, 6], vec![1.0; 12]));

    let mut expected = Vec::new();
    for b in 0..2 {
        expected.extend([[0.5, -1.0], [2.0, 0.25]][b]);
        let over = |f: &dyn Fn(&[f32]) -> f32| {
            (0..3).map(|c| f(&(0..6).map(|t| value(b, c, t)).collect::<Vec<_>>())).collect::<Vec<_>>()
        };
        expected.extend(over(&|x| x.iter().sum::<f32>() / 6.0));
        expected.extend(over(&|x| x.iter().copied().fold(f32::MIN, f32::max)));
        expected
            .extend(over(&|x| (x.iter().map(|v| v.max(1e-6).powi(3)).sum::<f32>() / 6.0).powf(1.0 / 3.0)));
    }
    let (shape, pooled) = numbers(&outputs, "pooled");
    assert_eq!(shape, [2, 11]);
    assert_close(&pooled, &expected);
}

#[test]
fn channels_last_give_the_same_tokens() {
    let mut card = spec(json!({ "tokens": "features" }), json!({ "size": [4, 6], "layout": "nhwc" }));
    card.inputs = vec![port("image", DType::F32, &[-1, -2, -3, 3])];
    card.outputs = vec![port("features", DType::F32, &[-1, 2, 2, 5])];
    let map = Tensor::f32(&[1, 2, 2, 5], (0..20).map(|i| i as f32).collect()).unwrap();
    let Some(outputs) = run(&card, &[("features", &map)]) else { return };
    let (shape, tokens) = numbers(&outputs, "tokens");
    assert_eq!((shape, tokens), (vec![1, 4, 5], (0..20).map(|i| i as f32).collect()));
    assert_close(&numbers(&outputs, "pooled").1, &[7.5, 8.5, 9.5, 10.5, 11.5]);
}

#[test]
fn a_pooled_vector_is_the_only_token_of_a_model_without_tokens() {
    let embedding = Tensor::f16(&[1, 2, 1, 1], [3.0, 4.0].map(half::f16::from_f32).to_vec()).unwrap();
    let Some(outputs) = run(&spec(json!({ "pooled": "embedding" }), small()), &[("embedding", &embedding)])
    else {
        return;
    };
    assert_eq!(numbers(&outputs, "tokens"), (vec![1, 1, 2], vec![3.0, 4.0]));
    assert_eq!(numbers(&outputs, "mask"), (vec![1, 1], vec![1.0]));
    assert_eq!(numbers(&outputs, "pooled"), (vec![1, 2], vec![3.0, 4.0]));
}

#[test]
fn the_tail_has_the_expected_ports() {
    let tail = open(&spec(json!({ "tokens": "hidden", "pooled": ["cls", "embedding"] }), small()))
        .unwrap()
        .tail()
        .unwrap();
    let outputs: Vec<String> = tail.outputs().iter().map(ToString::to_string).collect();
    assert_eq!(outputs, ["tokens f32[batch,tokens,4]", "mask f32[batch,tokens]", "pooled f32[batch,6]"]);
}

/// Numbers of each channel: (level * scale - mean) / std, blue first with `bgr`.
#[test]
fn prepares_images_as_the_card_states() {
    let plain =
        open(&spec(json!({ "tokens": "features" }), json!({ "size": [27, 37], "scale": 1.0 }))).unwrap();
    let path = picture("rgb.png");
    let levels = plain.prepare(Item::Path(&path)).unwrap().remove(0);
    assert_eq!(levels.shape(), [3, 27, 37]);
    let levels = levels.into_f32().unwrap();
    assert!(levels.iter().all(|v| v.fract() == 0.0 && (0.0..=255.0).contains(v)));

    let table =
        json!({ "size": [27, 37], "channels": "bgr", "mean": [0.1, 0.2, 0.3], "std": [0.5, 1.0, 2.0] });
    let scaled = open(&spec(json!({ "tokens": "features" }), table)).unwrap();
    let got = scaled.prepare(Item::Path(&path)).unwrap().remove(0).into_f32().unwrap();
    let expected: Vec<f32> = (0..3)
        .flat_map(|c| {
            let (mean, std) = ([0.1, 0.2, 0.3][c], [0.5, 1.0, 2.0][c]);
            levels[999 * (2 - c)..][..999].iter().map(move |v| ((f64::from(*v) / 255.0 - mean) / std) as f32)
        })
        .collect();
    assert_eq!(got, expected);
}

#[test]
fn errors_name_the_file_the_reason_and_the_correction() {
    let adapter = open(&spec(json!({ "tokens": "features" }), small())).unwrap();
    let cases = [
        (picture("none.jpg"), "cannot be read", "pairs table"),
        (picture(""), "is a folder", "pairs table"),
        (picture("truncated.jpg"), "truncated", "fetch it again"),
        (picture("../make.py"), "expected JPEG, PNG, WebP or BMP", "convert"),
    ];
    for (path, reason, remedy) in cases {
        let message = adapter.prepare(Item::Path(&path)).unwrap_err().message().to_owned();
        let named = message.contains(path.to_str().unwrap());
        assert!(named && message.contains(reason) && message.contains(remedy), "{message}");
    }
    assert!(adapter.prepare(Item::Row(3)).is_err());
}

#[test]
fn an_invalid_card_is_refused_when_the_adapter_opens() {
    let tokens = || json!({ "tokens": "features" });
    let cases: [(Json, Json, &[&str]); 12] = [
        (tokens(), json!({}), &["test", "size"]),
        (tokens(), json!({ "size": [0, 4] }), &["1..8192", "[0, 4]"]),
        (tokens(), json!({ "size": [4, 4], "filter": "cubic" }), &["cubic", "bicubic"]),
        (tokens(), json!({ "size": [4, 4], "mena": [0, 0, 0] }), &["mena", "mean"]),
        (tokens(), json!({ "size": [4, 4], "std": [1, 0, 1] }), &["std", "positive", "0"]),
        (tokens(), json!({ "size": [4, 4], "scale": -1 }), &["scale", "-1"]),
        (tokens(), json!({ "size": [4, 4], "shortest": 8 }), &["shortest-side-crop"]),
        (
            tokens(),
            json!({ "size": [9, 4], "resize": "shortest-side-crop", "shortest": 8 }),
            &["9..8192", "got 8"],
        ),
        (tokens(), json!({ "size": [4, 4], "layout": "nhwc" }), &["[batch, 4, 4, 3]", "image f32"]),
        (json!({ "tokens": "feature" }), small(), &["\"feature\"", "features, hidden, embedding"]),
        (json!({ "pooled": "mean" }), small(), &["\"mean\"", "need tokens"]),
        (json!({ "pooled": "features" }), small(), &["pooled", "[batch, D]"]),
    ];
    for (ports, preprocessing, words) in cases {
        let message = open(&spec(ports, preprocessing)).err().unwrap();
        for word in words {
            assert!(message.contains(word), "{message:?} lacks {word:?}");
        }
    }
}

#[test]
fn drafts_state_which_values_are_guesses() {
    let signature = Signature {
        inputs: vec![port("pixels", DType::F32, &[-1, 3, 256, 192])],
        outputs: vec![
            port("logits", DType::F32, &[-1, 1000]),
            port("features", DType::F32, &[-1, 64, 8, 6]),
            port("embedding", DType::F32, &[-1, 64]),
        ],
        ..Default::default()
    };
    let folder = std::env::temp_dir().join(format!("chiasm-image-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let draft = ImageAdapter::draft(&signature, &folder).unwrap().unwrap();
    assert_eq!(draft.ports, json!({ "tokens": "features", "pooled": "embedding" }));
    assert_eq!(draft.preprocessing["size"], json!([256, 192]));
    assert!(
        draft.reason.contains("a graph cannot tell") && draft.reason.contains("; CHECK"),
        "{}",
        draft.reason
    );

    let theirs = json!({
        "do_center_crop": true, "crop_size": { "height": 224, "width": 224 },
        "size": { "shortest_edge": 256 },
        "resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "rescale_factor": 0.5,
    });
    std::fs::write(folder.join("preprocessor_config.json"), theirs.to_string()).unwrap();
    let free = vec![port("pixels", DType::F32, &[-1, 3, -2, -3])];
    let signature = Signature { inputs: free.clone(), ..signature };
    let draft = ImageAdapter::draft(&signature, &folder).unwrap().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let expected = json!({
        "size": [224, 224], "resize": "shortest-side-crop", "shortest": 256, "filter": "bilinear",
        "channels": "rgb",
        "scale": 0.5, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "layout": "nchw",
    });
    assert_eq!(draft.preprocessing, expected);

    // What a draft proposes opens.
    let card = EncoderSpec {
        inputs: free,
        outputs: signature.outputs,
        ports: draft.ports,
        preprocessing: draft.preprocessing,
        ..Default::default()
    };
    assert!(open(&card).is_ok());

    let text = Signature { inputs: vec![port("input_ids", DType::I64, &[-1, -2])], ..Default::default() };
    assert!(ImageAdapter::draft(&text, &folder).unwrap().is_none());
}
