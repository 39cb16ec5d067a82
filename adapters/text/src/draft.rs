//! Drafts a model card from the model's ports and the files beside it.

use std::path::Path;

use chiasm_plugin::graph::DType;
use chiasm_plugin::{Draft, Json, PortSpec, Result, Signature, json};

/// Drafts a card for a model with an integer input `input_ids`; `None` for other models.
pub(crate) fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
    let ids = signature.inputs.iter().find(|port| port.name == "input_ids");
    if !ids.is_some_and(|port| matches!(port.dtype, DType::I64 | DType::I32)) {
        return Ok(None);
    }
    let mut reasons = vec!["text: the model has integer `input_ids`".to_owned()];
    let place =
        ["tokenizer.json", "../tokenizer.json"].into_iter().find(|place| directory.join(place).is_file());
    reasons.push(match place {
        Some(place) => format!("tokenizer: {place} is there"),
        None => "tokenizer: none was found beside the model; put its own tokenizer.json there".into(),
    });
    let (max_length, why) = max_length(directory);
    reasons.push(why);
    let ports = ports(&signature.outputs, directory, &mut reasons);
    let preprocessing = json!({ "tokenizer": place.unwrap_or("tokenizer.json"), "max_length": max_length });
    Ok(Some(Draft { ports, preprocessing, reason: reasons.join("\n") }))
}

/// Returns the length of the longest text, from the most specific file that states it.
fn max_length(directory: &Path) -> (u64, String) {
    let places: [(&str, &[&str]); 4] = [
        ("sentence_bert_config.json", &["max_seq_length"]),
        ("tokenizer.json", &["truncation", "max_length"]),
        ("tokenizer_config.json", &["model_max_length"]),
        ("config.json", &["max_position_embeddings"]),
    ];
    let found = places.iter().find_map(|(file, keys)| {
        let value = keys.iter().fold(read_near(directory, file)?, |value, key| value[key].clone());
        // Some tokenizers store 10^30 for "no limit".
        value.as_u64().filter(|length| (1..1_000_000).contains(length)).map(|length| (length, *file))
    });
    match found {
        Some((length, file)) => (length, format!("max_length {length}: {file} says so")),
        None => (512, "max_length 512: no file beside the model says how long a text may be; CHECK".into()),
    }
}

fn ports(outputs: &[PortSpec], directory: &Path, reasons: &mut Vec<String>) -> Json {
    let rank =
        |rank: usize| outputs.iter().filter(move |port| port.dims.as_ref().map(Vec::len) == Some(rank));
    let mut ports = json!({});
    if let Some(tokens) = rank(3).next() {
        ports["tokens"] = json!(tokens.name);
        reasons.push(format!("tokens: `{}` has one vector per token", tokens.name));
    }
    // BERT's `pooler_output` was trained for next sentence prediction; it is a poor embedding.
    let pooled = rank(2).find(|port| port.name.contains("embed")).or_else(|| {
        let tokens = rank(3).next().is_some();
        rank(2).next().filter(|_| !tokens)
    });
    match pooled {
        Some(pooled) => {
            ports["pooled"] = json!(pooled.name);
            reasons.push(format!("pooled: `{}` has one vector per text", pooled.name));
        }
        None => {
            let cls = read_near(directory, "1_Pooling/config.json")
                .is_some_and(|c| c["pooling_mode_cls_token"] == true);
            ports["pooled"] = json!(if cls { "cls" } else { "mean" });
            reasons.push(match cls {
                true => "pooled: 1_Pooling/config.json says cls".into(),
                false => "pooled: no output is an embedding, so the mean of the tokens; CHECK".into(),
            });
        }
    }
    ports
}

/// Reads a JSON file beside the model, or one folder up, where exports to `onnx/` have it.
fn read_near(directory: &Path, name: &str) -> Option<Json> {
    ["", ".."].iter().find_map(|folder| {
        let text = std::fs::read_to_string(directory.join(folder).join(name)).ok()?;
        serde_json::from_str(&text).ok()
    })
}
