//! Drafts a model card from the model's ports and the files beside it: those of a tokenizer, of transformers
//! and of sentence-transformers.

mod lengths;
mod modules;
mod tokenizer;

use std::path::Path;

use chiasm_kit::draft::{
    CardDraft, ModelFolder, are_scores, better_than_scores, is_float, is_vector, lengths as axes,
    use_before_scores,
};
use chiasm_plugin::graph::DType;
use chiasm_plugin::{Draft, Json, PortSpec, Result, Signature};

use crate::inputs::TextInput;
use modules::sentence_modules;

/// Drafts a card for a model with an integer input of token numbers, such as `input_ids`; `None` for other
/// models.
pub(crate) fn draft(signature: &Signature, directory: &Path) -> Result<Option<Draft>> {
    let find = |wanted| signature.inputs.iter().find(|port| TextInput::of(&port.name) == Some(wanted));
    let Some(ids) = find(TextInput::Ids).filter(|port| matches!(port.dtype, DType::I64 | DType::I32)) else {
        return Ok(None);
    };
    let folder = ModelFolder(directory);
    let mut card = CardDraft::default();
    card.note(format!("text: the model has integer `{}`", ids.name));
    tokenizer::set(&mut card, &folder)?;
    lengths::set(&mut card, &folder, ids)?;
    if find(TextInput::Positions).is_some() {
        tokenizer::first_position(&mut card, &folder)?;
    }
    prompt(&mut card, &folder)?;
    ports(&mut card, signature, &folder)?;
    Ok(Some(card.finish()))
}

/// Sets the prefix of the texts and lower case, as sentence-transformers does.
fn prompt(card: &mut CardDraft, folder: &ModelFolder<'_>) -> Result<()> {
    if let Some(config) = folder.json("sentence_bert_config.json")?
        && config.content["do_lower_case"] == true
    {
        card.set("lowercase", true, config.origin("do_lower_case"));
    }
    let Some(config) = folder.json("config_sentence_transformers.json")? else { return Ok(()) };
    let prompts = || config.content["prompts"].as_object().into_iter().flatten();
    let Some(name) = config.get("default_prompt_name").and_then(Json::as_str) else {
        let told = prompts().filter(|(_, text)| text.as_str().is_some_and(|text| !text.is_empty()));
        let told: serde_json::Map<String, Json> =
            told.map(|(name, text)| (name.clone(), text.clone())).collect();
        if !told.is_empty() {
            let names: Vec<&str> = told.keys().map(String::as_str).collect();
            let choice = format!(
                "none of them precedes a text, as `default_prompt_name` of {} names none; to choose one: \
                 --set preprocessing.prompt={}",
                config.name,
                names.join(" or ")
            );
            card.set("prefix", told, config.origin("prompts"));
            card.note(choice);
        }
        return Ok(());
    };
    match config.content["prompts"][name].as_str() {
        Some("") => {}
        Some(text) => card.set(
            "prefix",
            text,
            format!("`prompts.{name}` of {}, its `default_prompt_name`", config.name),
        ),
        None => card.undecided(
            "preprocessing.prefix",
            format!(
                "`default_prompt_name` of {} is \"{name}\", which is none of its prompts; set the text that \
                 precedes every item, or \"\"",
                config.name
            ),
        ),
    }
    Ok(())
}

/// Sets `tokens`, `pooled` and `dense`.
fn ports(card: &mut CardDraft, signature: &Signature, folder: &ModelFolder<'_>) -> Result<()> {
    let modules = sentence_modules(folder)?;
    let tokens = tokens(card, signature);
    // BERT's `pooler_output` was trained for next sentence prediction; it is a poor embedding.
    let embedding = signature.outputs.iter().find(|port| is_vector(port) && port.name.contains("embed"));
    if let Some(port) = embedding {
        let origin =
            format!("the output has one vector per text {} and is named as an embedding", axes(port));
        card.port("pooled", port.name.as_str(), origin);
        if let Some(modules) = modules {
            card.note(modules.beside(&port.name));
        }
    } else if tokens {
        match modules {
            Some(modules) => modules.draft(card),
            None => card.port(
                "pooled",
                "mean",
                "a guess, no output is named as an embedding and there is no 1_Pooling/config.json; CHECK",
            ),
        }
    } else {
        vector(card, signature);
        if let Some(modules) = modules {
            card.undecided(
                "ports.pooled",
                format!(
                    "{}, but the model has no output with one vector per token: export the model with its \
                     last hidden state, or name the output or inner tensor to take",
                    modules.told()
                ),
            );
        }
    }
    Ok(())
}

/// Sets `tokens` to the output with one vector per token; returns whether there is one.
fn tokens(card: &mut CardDraft, signature: &Signature) -> bool {
    let per_token = |port: &&PortSpec| port.dims.as_ref().map(Vec::len) == Some(3) && is_float(port);
    let all: Vec<&PortSpec> = signature.outputs.iter().filter(per_token).collect();
    let usual = ["last_hidden_state", "token_embeddings"];
    let chosen = usual
        .iter()
        .find_map(|name| all.iter().find(|port| port.name == *name))
        .or_else(|| all.iter().find(|port| !are_scores(&port.name)));
    match (chosen, all.first()) {
        (Some(port), _) => {
            card.port("tokens", port.name.as_str(), format!("one vector per token {}", axes(port)));
        }
        (None, Some(scores)) => {
            let before = use_before_scores(card, signature, scores);
            if !before {
                card.port(
                    "tokens",
                    scores.name.as_str(),
                    "the only output with one vector per token, though its name says class scores; name an \
                     inner tensor instead with --set ports.tokens=...; CHECK",
                );
            }
        }
        (None, None) => return false,
    }
    true
}

/// Sets `pooled` for a model without tokens.
fn vector(card: &mut CardDraft, signature: &Signature) {
    let vectors = || signature.outputs.iter().filter(|port| is_vector(port));
    if let Some(port) = vectors().find(|port| !are_scores(&port.name)) {
        card.port("pooled", port.name.as_str(), format!("one vector per text {}", axes(port)));
        if let Some(better) = better_than_scores(signature, port) {
            card.note(better);
        }
    } else if let Some(scores) = vectors().next() {
        if !use_before_scores(card, signature, scores) {
            card.port(
                "pooled",
                scores.name.as_str(),
                "the only vector, though its name says class scores; name an inner tensor instead with --set \
                 ports.pooled=...; CHECK",
            );
        }
    } else {
        card.port("pooled", "mean", "a guess, the model has no output of a known shape; CHECK");
    }
}
