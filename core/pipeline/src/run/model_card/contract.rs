//! The sections on the parts of a model: its encoders, its inputs and outputs, and the preparation of items.

use super::{
    facts::{CardFacts, CardModel, EncoderFacts},
    licence::LicenceSummary,
    preparation::prepared,
    text::{ascii_json, code, listed, plain, quoted},
};
use crate::run::graphs::{FUSED, LOGITS};
use chiasm_graph::Port;
use serde_json::json;
use std::fmt::Write as _;

/// Writes the table of the encoders and what their licences mean.
pub fn encoders(text: &mut String, facts: &CardFacts<'_>, licence: &LicenceSummary) {
    text.push_str(
        "\n## Encoders and licences\n\n| modality | encoder | licence | origin | numbers per item | sha256 \
         of the model |\n|---|---|---|---|---|---|\n",
    );
    for encoder in &facts.encoders {
        let card = encoder.card.as_ref();
        let stated = card.map(|card| plain(&card.licence)).filter(|licence| !licence.is_empty());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            plain(encoder.modality),
            plain(encoder.name),
            stated.unwrap_or_else(|| "not stated".to_owned()),
            card.map_or_else(|| "a file of vectors".to_owned(), |card| plain(&card.source)),
            encoder.pooled,
            card.map_or_else(|| "-".to_owned(), |card| code(&card.sha256)),
        );
    }
    let _ = writeln!(
        text,
        "\nThe weights of the encoders are those of their models. {} This is a summary of the licences as \
         the encoders' cards state them, not legal advice.",
        plain(&licence.consequence)
    );
}

/// Writes the tables of inputs and outputs.
pub fn ports(text: &mut String, facts: &CardFacts<'_>, models: &[CardModel]) {
    text.push_str("\n## Inputs and outputs\n\nAn axis with a name has any length.\n");
    text.push_str("\n| file | input | type and shape | made from |\n|---|---|---|---|\n");
    for (model, port) in models.iter().flat_map(|model| model.inputs.iter().map(move |port| (model, port))) {
        let owner =
            facts.encoders.iter().find(|encoder| encoder.inputs.values().any(|own| *own == port.name));
        let owner = owner.map(|one| format!("{}, for {}", plain(one.modality), plain(one.name)));
        let owner = owner.unwrap_or_default();
        row(text, &model.file, port, &owner);
    }
    text.push_str("\n| file | output | type and shape | meaning |\n|---|---|---|---|\n");
    for (model, port) in models.iter().flat_map(|model| model.outputs.iter().map(move |port| (model, port))) {
        row(text, &model.file, port, &meaning(facts, port));
    }
    let embeds: Vec<String> = facts.manifest.modalities.iter().map(|one| code(&one.output)).collect();
    let _ = writeln!(
        text,
        "\nThe score of two items is the dot product of their embeddings ({}); a larger score means a better \
         match.",
        embeds.join(", ")
    );
}

fn row(text: &mut String, file: &str, port: &Port, words: &str) {
    let _ =
        writeln!(text, "| {} | {} | {} | {words} |", plain(file), code(&port.name), code(&port.type_text()));
}

/// Returns the meaning of an output.
fn meaning(facts: &CardFacts<'_>, port: &Port) -> String {
    let modality = facts.manifest.modalities.iter().find(|modality| modality.output == port.name);
    if let Some(modality) = modality {
        return format!("the embedding of {} in the shared space", plain(&modality.name));
    }
    match (port.name.as_str(), &facts.manifest.task) {
        (FUSED, _) => "one vector for all modalities of a row".to_owned(),
        (LOGITS, Some(task)) => {
            const SHOWN: usize = 20;
            let mut labels: Vec<String> =
                task.labels.iter().take(SHOWN).map(|label| plain(&label.to_string())).collect();
            if task.labels.len() > SHOWN {
                labels.push(format!("and {} more, which `manifest.json` lists", task.labels.len() - SHOWN));
            }
            format!("the fusion's answer ({}): {}", task.kind.as_str(), labels.join(", "))
        }
        _ => "an output of the fusion".to_owned(),
    }
}

/// Writes how items are prepared, in words and as JSON.
pub fn preparation(text: &mut String, facts: &CardFacts<'_>, models: &[CardModel]) {
    text.push_str("\n## Preparation of the items\n\n");
    let ports: Vec<Port> = models.iter().flat_map(|model| model.inputs.iter().cloned()).collect();
    for encoder in &facts.encoders {
        let words = prepared(encoder, &ports).words;
        let _ = write!(text, "- **{}**, for {}: {words}", plain(encoder.modality), plain(encoder.name));
        text.push_str(&transformers(encoder));
        text.push('\n');
    }
    let tables: Vec<String> = facts.encoders.iter().map(described).collect();
    let _ = writeln!(text, "\nThe same as JSON:\n\n```json\n[\n{}\n]\n```", tables.join(",\n"));
}

/// Returns the sentences on the files that `transformers` opens, if the folder of the card has a place for
/// them.
fn transformers(encoder: &EncoderFacts<'_>) -> String {
    let (Some(folder), Some(found)) = (&encoder.folder, &encoder.transformers) else { return String::new() };
    let made = match found {
        Ok(made) => made,
        Err(reason) => {
            return format!(" There are no files for Hugging Face's transformers: {}.", plain(reason));
        }
    };
    let open = format!("prepare = {}.from_pretrained({})", made.class, quoted(folder));
    let feature = |(name, port): &(String, String)| {
        format!("{} is the input {}", code(&format!("np.stack(features[{}])", quoted(name))), code(port))
    };
    let features: Vec<String> = made.features.iter().map(feature).collect();
    let note = made.note.map(|note| format!(" {note}")).unwrap_or_default();
    format!(
        " Hugging Face's transformers does the same with the files of that folder: {}, {}; {}.{note}",
        code(&open),
        code(&made.call),
        listed(&features)
    )
}

/// Returns an encoder's preparation as JSON, with one line for each key.
fn described(encoder: &EncoderFacts<'_>) -> String {
    let fields = [
        ("modality", json!(encoder.modality)),
        ("encoder", json!(encoder.name)),
        ("adapter", json!(encoder.adapter)),
        ("folder", json!(encoder.folder)),
        ("inputs", json!(encoder.inputs)),
        ("preprocessing", encoder.spec.preprocessing.clone()),
    ];
    let lines = fields.map(|(key, value)| format!("    \"{key}\": {}", ascii_json(&value.to_string())));
    format!("  {{\n{}\n  }}", lines.join(",\n"))
}
