//! Texts: `tokenizer.json` and `tokenizer_config.json`.

use super::prepared::{Prepared, pretty};
use crate::run::{
    files::{MAX_TEXT, read_in},
    model_card::{EncoderFacts, TextTable, quoted, usual_name},
    port_form::PortForm,
};
use chiasm_graph::{DType, Port};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Returns how texts are prepared, or which key cannot be said. `folder` is that of the run.
pub fn prepared(
    encoder: &EncoderFacts<'_>,
    inputs: &[(String, Port)],
    folder: &Path,
) -> Result<Prepared, String> {
    let table: TextTable = encoder.table()?;
    let name = format!("{}/{}", encoder.folder.as_deref().unwrap_or_default(), table.tokenizer);
    let content = read_in(folder, &name, MAX_TEXT).map_err(|error| error.to_string())?;
    let tokenizer: Value = serde_json::from_slice(&content)
        .map_err(|_| format!("`tokenizer = {:?}` is no tokenizer.json", table.tokenizer))?;
    let forms = inputs.iter().map(|(own, port)| PortForm::named(port, usual_name(own), DType::I64));
    let forms: Vec<PortForm> = forms.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let fixed = forms.iter().find_map(|form| form.port.fixed(1));
    let own = tokenizer["truncation"]["max_length"].as_u64().and_then(|most| usize::try_from(most).ok());
    let most = table.max_length.or(own).or(fixed);
    if let (Some(length), Some(most)) = (fixed, most.filter(|most| Some(*most) != fixed)) {
        return Err(format!("`max_length = {most}` and the model's fixed length of {length} are two"));
    }
    let padded = fixed.is_some() || forms.iter().any(|form| form.name == "attention_mask");
    let file = configuration(&tokenizer, &forms, most);
    let padding = match (fixed, padded) {
        (Some(_), _) => ["\"max_length\"", "\"max_length\""],
        (None, true) => ["True", "true"],
        (None, false) => ["False", "false"],
    };
    let mut text = ["item".to_owned(), "item".to_owned()];
    if !table.prefix().is_empty() {
        let prefix = table.prefix();
        text = [format!("{} + item", quoted(prefix)), format!("{} + item", json!(prefix))];
    }
    if table.lowercase {
        let [python, javascript] = text;
        text = [format!("({python}).lower()"), format!("({javascript}).toLowerCase()")];
    }
    let [python, javascript] = &text;
    Ok(Prepared {
        ports: forms,
        files: vec![("tokenizer.json", content), ("tokenizer_config.json", pretty(&file))],
        class: "AutoTokenizer",
        python: vec![format!("features = prepare([{python}], padding={}, truncation=True)", padding[0])],
        javascript: vec![format!(
            "const features = await prepare([{javascript}], {{ padding: {}, truncation: true }});",
            padding[1]
        )],
        note: None,
        example: "a small red circle",
    })
}

/// Returns `tokenizer_config.json`: what `tokenizer.json` does not say, or not to every library.
fn configuration(tokenizer: &Value, forms: &[PortForm], most: Option<usize>) -> Value {
    let names: Vec<&str> = ["input_ids", "token_type_ids", "attention_mask"]
        .into_iter()
        .filter(|name| forms.iter().any(|form| form.name == *name))
        .collect();
    let side = |table: &str| {
        let left = tokenizer[table]["direction"].as_str() == Some("Left");
        if left { "left" } else { "right" }
    };
    let mut file = Map::new();
    let mut set = |key: &str, value: Value| file.insert(key.to_owned(), value);
    set("tokenizer_class", json!("PreTrainedTokenizerFast"));
    set("model_input_names", json!(names));
    set("padding_side", json!(side("padding")));
    set("truncation_side", json!(side("truncation")));
    set("clean_up_tokenization_spaces", json!(false));
    if let Some(most) = most {
        set("model_max_length", json!(most));
    }
    if let Some(token) = padding(tokenizer) {
        set("pad_token", json!(token));
    }
    if let Some(token) = unknown(tokenizer) {
        set("unk_token", json!(token));
    }
    Value::Object(file)
}

/// The token that fills a batch up: the one of the file, else one with a usual name, else the first. The mask
/// hides it.
fn padding(tokenizer: &Value) -> Option<String> {
    if let Some(token) = tokenizer["padding"]["pad_token"].as_str() {
        return Some(token.to_owned());
    }
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    let added: Vec<(&str, u64)> =
        added.filter_map(|token| Some((token["content"].as_str()?, token["id"].as_u64()?))).collect();
    let vocabulary = &tokenizer["model"]["vocab"];
    let pieces = || vocabulary.as_array().into_iter().flatten().map(|piece| piece[0].as_str());
    let has = |token: &str| {
        added.iter().any(|(name, _)| *name == token)
            || vocabulary.get(token).is_some()
            || pieces().any(|piece| piece == Some(token))
    };
    let usual = ["[PAD]", "<pad>"].into_iter().find(|token| has(token));
    let words = || vocabulary.as_object().into_iter().flatten();
    let first = || {
        let added = added.iter().find(|(_, id)| *id == 0).map(|(name, _)| *name);
        let word = || words().find(|(_, id)| id.as_u64() == Some(0)).map(|(word, _)| word.as_str());
        added.or_else(word).or_else(|| pieces().next().flatten())
    };
    usual.or_else(first).map(str::to_owned)
}

/// The token of what the vocabulary does not have.
fn unknown(tokenizer: &Value) -> Option<String> {
    let model = &tokenizer["model"];
    let piece = || model["vocab"].get(usize::try_from(model["unk_id"].as_u64()?).ok()?)?[0].as_str();
    model["unk_token"].as_str().or_else(piece).map(str::to_owned)
}
