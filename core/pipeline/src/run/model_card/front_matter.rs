//! The front matter of a model card, as the Hugging Face hub reads it: YAML between two lines of dashes.

use super::{
    facts::{CardFacts, CardModel},
    licence::LicenceSummary,
    text::quoted,
};
use crate::run::graphs::LOGITS;
use std::{collections::BTreeSet, fmt::Write as _};

/// Writes the front matter of a card of `models`. `title` is the name of the model.
pub fn front_matter(
    facts: &CardFacts<'_>,
    models: &[CardModel],
    licence: &LicenceSummary,
    title: &str,
) -> String {
    let mut yaml = String::from("---\nlibrary_name: onnx\n");
    let adapters: BTreeSet<&str> = facts.encoders.iter().map(|encoder| encoder.adapter).collect();
    let tags = ["chiasm", "onnx", "merge", "embeddings"].into_iter().chain(adapters.iter().copied());
    list(&mut yaml, "tags", tags);
    let _ = writeln!(yaml, "license: {}", quoted(&licence.identifier));
    if let Some(name) = &licence.name {
        let _ = writeln!(yaml, "license_name: {}", quoted(name));
    }
    let names: BTreeSet<String> = (facts.encoders.iter())
        .filter_map(|encoder| encoder.card.as_ref())
        .map(|card| hub_repository(&card.source).unwrap_or(&card.name).to_owned())
        .collect();
    if !names.is_empty() {
        list(&mut yaml, "base_model", names.iter().map(String::as_str));
        yaml.push_str("base_model_relation: merge\n");
    }
    if let Some(tag) = pipeline_tag(&adapters, models) {
        let _ = writeln!(yaml, "pipeline_tag: {tag}");
    }
    index(&mut yaml, facts, title);
    yaml.push_str("---\n");
    yaml
}

fn list<'a>(yaml: &mut String, key: &str, values: impl Iterator<Item = &'a str>) {
    let _ = writeln!(yaml, "{key}:");
    values.for_each(|value| {
        let _ = writeln!(yaml, "- {}", quoted(value));
    });
}

/// Returns the repository of the hub that the source on a card names: as `chiasm model add` writes it, or as
/// the address of its page.
fn hub_repository(source: &str) -> Option<&str> {
    let is_part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part.chars().all(plain)
    };
    let is_repository =
        |text: &str| text.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name));
    let word = match source.split_once("https://huggingface.co/") {
        Some((_, path)) => {
            let path = path.split(|c: char| c.is_whitespace() || "?#,;)".contains(c)).next()?;
            let end = path.match_indices('/').nth(1).map_or(path.len(), |(at, _)| at);
            &path[..end]
        }
        None if source.contains("of the Hugging Face hub") => source.split_whitespace().next()?,
        None => return None,
    };
    is_repository(word).then_some(word)
}

/// Returns the task of the hub that the model solves, if one fits.
fn pipeline_tag(adapters: &BTreeSet<&str>, models: &[CardModel]) -> Option<&'static str> {
    let outputs = || models.iter().flat_map(|model| &model.outputs);
    if outputs().any(|port| port.name == LOGITS) {
        return None;
    }
    let both = adapters.iter().copied().eq(["image", "text"]);
    Some(if both { "zero-shot-image-classification" } else { "feature-extraction" })
}

/// Writes the metrics as a `model-index`.
fn index(yaml: &mut String, facts: &CardFacts<'_>, title: &str) {
    let _ = writeln!(yaml, "model-index:\n- name: {}\n  results:", quoted(title));
    let data = facts.data().unwrap_or_else(|| "rows of the files of vectors".to_owned());
    let dataset =
        format!("    dataset:\n      type: custom\n      name: {}\n      split: test\n", quoted(&data));
    for (direction, scored) in &facts.metrics.retrieval {
        let _ = write!(
            yaml,
            "  - task:\n      type: retrieval\n      name: {}\n{dataset}    metrics:\n",
            quoted(&format!("retrieval, {direction}"))
        );
        let scores = scored.figures;
        let all = [
            ("recall_at_1", scores.recall_at_1),
            ("recall_at_5", scores.recall_at_5),
            ("recall_at_10", scores.recall_at_10),
            ("mrr", scores.mrr),
        ];
        all.into_iter().for_each(|(name, value)| metric(yaml, name, &format!("{direction} {name}"), value));
    }
    if let Some(task) = &facts.metrics.task {
        let kind = task.kind.as_str();
        let _ = write!(yaml, "  - task:\n      type: {}\n{dataset}    metrics:\n", quoted(kind));
        metric(yaml, &task.metric, &format!("{} of the fusion", task.metric), task.score);
    }
}

fn metric(yaml: &mut String, kind: &str, name: &str, value: f64) {
    // YAML has no number for a value that is not finite.
    let value = if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() };
    let _ =
        writeln!(yaml, "    - type: {}\n      name: {}\n      value: {value}", quoted(kind), quoted(name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_of_a_source_is_found() {
        for (source, repository) in [
            ("org/name (main) of the Hugging Face hub, onnx/model.onnx", Some("org/name")),
            ("https://huggingface.co/org/name.v2/blob/main/a.onnx", Some("org/name.v2")),
            ("see https://huggingface.co/org/name, int8 weights", Some("org/name")),
            ("trained by models/make_demo_encoders.py", None),
            ("https://huggingface.co/org", None),
            ("a\"/b\n (main) of the Hugging Face hub", None),
        ] {
            assert_eq!(hub_repository(source), repository, "{source}");
        }
    }
}
