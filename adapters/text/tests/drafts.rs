//! Drafts from the files of sentence-transformers: poolings in both forms, dense layers, prompts.
#![expect(clippy::unwrap_used, reason = "test")]

use std::path::PathBuf;

use chiasm_plugin::graph::DType;
use chiasm_plugin::{Adapter, DimSpec, Draft, Json, PortSpec, Signature, json};
use chiasm_text::TextAdapter;

/// A folder of its own for a draft.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("chiasm-text-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn draft(&self, outputs: &[PortSpec]) -> Draft {
        TextAdapter::draft(&signature(outputs), &self.0).unwrap().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn port(name: &str, dtype: DType, rest: &[usize]) -> PortSpec {
    let named = |name: &str| DimSpec::Named(name.into());
    let mut dims = vec![named("N")];
    dims.extend(rest.iter().map(|length| if *length == 0 { named("T") } else { DimSpec::Fixed(*length) }));
    PortSpec { name: name.into(), dtype, dims: Some(dims) }
}

fn signature(outputs: &[PortSpec]) -> Signature {
    Signature {
        inputs: vec![port("input_ids", DType::I64, &[0])],
        outputs: outputs.to_vec(),
        ..Default::default()
    }
}

fn tokens() -> PortSpec {
    port("last_hidden_state", DType::F32, &[0, 4])
}

/// The order of several poolings is that of the list, or in the older form that of sentence-transformers.
#[test]
fn poolings_are_read_in_both_forms() {
    let one = |name: &str| json!(name);
    let cases: [(Json, Json); 15] = [
        (json!({ "pooling_mode": "cls", "include_prompt": true }), one("cls")),
        (json!({ "pooling_mode": "mean" }), one("mean")),
        (json!({ "pooling_mode": "max" }), one("max")),
        (json!({ "pooling_mode": "lasttoken" }), one("lasttoken")),
        (json!({ "pooling_mode": "weightedmean" }), one("weightedmean")),
        (json!({ "pooling_mode": "mean_sqrt_len_tokens" }), one("mean_sqrt_len_tokens")),
        (json!({ "pooling_mode": ["lasttoken", "cls"] }), json!(["lasttoken", "cls"])),
        (json!({ "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false }), one("cls")),
        (json!({ "pooling_mode_mean_tokens": true }), one("mean")),
        (json!({ "pooling_mode_max_tokens": true }), one("max")),
        (json!({ "pooling_mode_lasttoken": true }), one("lasttoken")),
        (json!({ "pooling_mode_weightedmean_tokens": true }), one("weightedmean")),
        (json!({ "pooling_mode_mean_sqrt_len_tokens": true }), one("mean_sqrt_len_tokens")),
        (json!({ "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true }), json!(["cls", "mean"])),
        (json!({ "pooling_mode_mean_tokens": false }), one("mean")),
    ];
    let folder = Folder::new("poolings");
    for (config, expected) in cases {
        folder.write("1_Pooling/config.json", config.to_string());
        let draft = folder.draft(&[tokens()]);
        assert_eq!(draft.ports, json!({ "tokens": "last_hidden_state", "pooled": expected }), "{config}");
        assert!(draft.undecided.is_empty(), "{:?}", draft.undecided);
        let line = draft.reason.lines().find(|line| line.starts_with("pooled ")).unwrap();
        assert!(line.contains("1_Pooling/config.json") && !line.contains("guess"), "{line}");
    }
    folder.write("1_Pooling/config.json", json!({ "pooling_mode": "median" }).to_string());
    let draft = folder.draft(&[tokens()]);
    assert_eq!(draft.undecided[0].key, "ports.pooled");
    assert!(draft.undecided[0].reason.contains("\"median\""), "{}", draft.undecided[0].reason);
    folder.write("1_Pooling/config.json", "{\"pooling_mode\":");
    let error = TextAdapter::draft(&signature(&[tokens()]), &folder.0).unwrap_err().message().to_owned();
    assert!(error.contains("1_Pooling/config.json: is not JSON"), "{error}");
    std::fs::remove_dir_all(folder.0.join("1_Pooling")).unwrap();
    assert!(folder.draft(&[tokens()]).reason.contains("pooled `mean`: a guess"));
}

fn modules(kinds: &[&str]) -> String {
    let entry = |(index, kind): (usize, &&str)| {
        let name = format!("sentence_transformers.models.{kind}");
        json!({ "type": name, "path": format!("{index}_{kind}") })
    };
    let mut all: Vec<Json> = kinds.iter().enumerate().map(entry).collect();
    all[0]["path"] = json!("");
    json!(all).to_string()
}

#[test]
fn dense_layers_are_drafted_or_left_to_the_user() {
    let folder = Folder::new("dense");
    folder.write(
        "modules.json",
        modules(&["Transformer", "Pooling", "Normalize", "Dense", "Dense", "Normalize"]),
    );
    folder.write("1_Pooling/config.json", json!({ "pooling_mode": "mean" }).to_string());
    for (layer, function) in [("3_Dense", "activation.Tanh"), ("4_Dense", "linear.Identity")] {
        let config = json!({ "activation_function": format!("torch.nn.modules.{function}") });
        folder.write(&format!("{layer}/config.json"), config.to_string());
        folder.write(&format!("{layer}/model.safetensors"), "");
    }
    let draft = folder.draft(&[tokens()]);
    let expected = json!([
        { "weights": "3_Dense/model.safetensors", "activation": "tanh", "normalise": true },
        { "weights": "4_Dense/model.safetensors", "activation": "identity" },
    ]);
    assert_eq!((&draft.ports["dense"], draft.undecided.len()), (&expected, 0), "{:?}", draft.undecided);
    assert!(draft.reason.contains("Normalize: needs no key"), "{}", draft.reason);

    let undecided = |folder: &Folder, words: &[&str]| {
        let draft = folder.draft(&[tokens()]);
        let all: Vec<String> =
            draft.undecided.iter().map(|own| format!("{}: {}", own.key, own.reason)).collect();
        assert!(words.iter().all(|word| all.iter().any(|own| own.contains(word))), "{all:?} lacks {words:?}");
    };
    std::fs::rename(folder.0.join("4_Dense/model.safetensors"), folder.0.join("4_Dense/pytorch_model.bin"))
        .unwrap();
    undecided(
        &folder,
        &["ports.dense: the weights of 4_Dense are in pytorch_model.bin", "--set 'ports.dense=[]'"],
    );
    folder.write("3_Dense/config.json", r#"{"activation_function": "torch.nn.modules.activation.Softsign"}"#);
    undecided(&folder, &["Softsign"]);
    folder.write("modules.json", modules(&["Transformer", "Pooling", "LSTM"]));
    undecided(&folder, &["ports.pooled: modules.json has the module LSTM (2_LSTM)"]);
    // A model that computes its embedding itself needs none of these.
    let own = folder.draft(&[tokens(), port("sentence_embedding", DType::F32, &[4])]);
    assert_eq!((&own.ports["pooled"], own.undecided.len()), (&json!("sentence_embedding"), 0));
    assert!(
        own.reason.contains("LSTM (2_LSTM)") && own.reason.contains("--set ports.pooled=mean"),
        "{}",
        own.reason
    );
}

#[test]
fn an_export_in_a_folder_of_its_own_finds_the_files_one_folder_up() {
    let folder = Folder::new("up");
    folder.write("modules.json", modules(&["Transformer", "Pooling", "Dense"]));
    folder.write("1_Pooling/config.json", json!({ "pooling_mode": "lasttoken" }).to_string());
    folder.write("2_Dense/config.json", json!({ "activation_function": "torch.nn.Identity" }).to_string());
    folder.write("2_Dense/model.safetensors", "");
    folder.write("tokenizer.json", "{}");
    folder.write("onnx/model.onnx", "");
    let draft = TextAdapter::draft(&signature(&[tokens()]), &folder.0.join("onnx")).unwrap().unwrap();
    assert_eq!(draft.preprocessing["tokenizer"], "../tokenizer.json");
    assert_eq!(draft.ports["pooled"], "lasttoken");
    assert_eq!(draft.ports["dense"][0]["weights"], "../2_Dense/model.safetensors");
}

#[test]
fn prompts_lengths_and_lower_case_are_taken_over() {
    let folder = Folder::new("prompts");
    let prompts =
        json!({ "prompts": { "query": "query: ", "passage": "passage: " }, "default_prompt_name": null });
    folder.write("config_sentence_transformers.json", prompts.to_string());
    folder.write("sentence_bert_config.json", r#"{"max_seq_length": 16, "do_lower_case": true}"#);
    folder.write("1_Pooling/config.json", r#"{"pooling_mode": "mean", "include_prompt": false}"#);
    let draft = folder.draft(&[tokens()]);
    let expected = json!({
        "tokenizer": "tokenizer.json",
        "max_length": 16,
        "lowercase": true,
        "prefix": { "query": "query: ", "passage": "passage: " },
    });
    assert_eq!((draft.preprocessing, draft.undecided.len()), (expected, 0));
    assert!(
        draft.reason.contains("none of them precedes a text") && draft.reason.contains("pools its tokens"),
        "{}",
        draft.reason
    );
    let mut named = prompts;
    named["default_prompt_name"] = json!("query");
    folder.write("config_sentence_transformers.json", named.to_string());
    let draft = folder.draft(&[tokens()]);
    assert_eq!(draft.preprocessing["prefix"], "query: ");
    assert_eq!(draft.undecided[0].key, "preprocessing.prefix", "the prompt is not pooled");
    // Of a tokenizer's limit and the number of positions, the smaller one holds.
    std::fs::remove_file(folder.0.join("sentence_bert_config.json")).unwrap();
    folder.write("tokenizer_config.json", r#"{"model_max_length": 512}"#);
    folder.write("config.json", r#"{"max_position_embeddings": 128}"#);
    let draft = folder.draft(&[tokens()]);
    assert_eq!(draft.preprocessing["max_length"], 128);
    assert!(
        draft.reason.contains("max_length 128: `max_position_embeddings` of config.json"),
        "{}",
        draft.reason
    );
}

#[test]
fn class_scores_give_way_to_the_tensor_before_the_last_layer() {
    let folder = Folder::new("scores");
    let draft = |output: PortSpec, inner: PortSpec| {
        let mut signature = signature(&[output]);
        signature.before_last = [(signature.outputs[0].name.clone(), inner)].into();
        TextAdapter::draft(&signature, &folder.0).unwrap().unwrap()
    };
    let words = draft(port("logits", DType::F32, &[0, 30522]), port("/dense", DType::F32, &[0, 8]));
    assert_eq!(words.ports, json!({ "tokens": "/dense", "pooled": "mean" }));
    let classes = draft(port("logits", DType::F32, &[2]), port("/pooler", DType::F32, &[8]));
    assert_eq!(classes.ports, json!({ "pooled": "/pooler" }));
}
