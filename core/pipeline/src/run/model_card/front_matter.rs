//! What the Hugging Face hub reads of a model: the front matter of its card, which is YAML between two lines
//! of dashes, and the file of its results.

use super::{
    facts::{CardFacts, CardModel},
    licence::LicenceSummary,
    text::quoted,
};
use crate::run::{
    evaluate::{DirectionMetrics, Metrics},
    graphs::LOGITS,
};
use std::{collections::BTreeSet, fmt::Write as _};

/// Writes the front matter of a card of `models`, which `metrics` were measured with. `title` is the name of
/// the model.
pub fn front_matter(
    facts: &CardFacts<'_>,
    models: &[CardModel],
    metrics: &Metrics,
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
    index(&mut yaml, &dataset(facts), metrics, title);
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

/// Returns the name of the data that a run was measured on: that of its file, which the hub does not know.
fn dataset(facts: &CardFacts<'_>) -> String {
    facts.data().unwrap_or_else(|| "rows of the files of vectors".to_owned())
}

/// The scores of one task on the test rows.
struct TaskScores {
    /// The kind of task, in the words of the hub.
    kind: String,
    /// The direction of retrieval, or `fusion`.
    what: String,
    /// The name of each metric, and its value.
    values: Vec<(String, f64)>,
    /// How they were measured.
    notes: String,
}

/// Returns the scores of every direction of retrieval, then those of the fusion.
fn scores(metrics: &Metrics) -> Vec<TaskScores> {
    let direction = |(direction, scored): (&String, &DirectionMetrics)| {
        let figures = scored.figures;
        let values = [
            ("recall_at_1", figures.recall_at_1),
            ("recall_at_5", figures.recall_at_5),
            ("recall_at_10", figures.recall_at_10),
            ("mrr", figures.mrr),
        ];
        TaskScores {
            kind: "retrieval".to_owned(),
            what: direction.clone(),
            values: values.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            notes: format!(
                "{} queries among {} items; recall_at_1 of a random order is {:.4}",
                scored.queries, scored.gallery, scored.chance.recall_at_1
            ),
        }
    };
    let mut all: Vec<TaskScores> = metrics.retrieval.iter().map(direction).collect();
    all.extend(metrics.task.as_ref().map(|task| TaskScores {
        kind: task.kind.as_str().to_owned(),
        what: "fusion".to_owned(),
        values: vec![(task.metric.clone(), task.score)],
        notes: format!("{} test rows", task.rows),
    }));
    all
}

/// Writes the metrics as a `model-index`.
fn index(yaml: &mut String, dataset: &str, metrics: &Metrics, title: &str) {
    let _ = writeln!(yaml, "model-index:\n- name: {}\n  results:", quoted(title));
    for task in scores(metrics) {
        let _ = write!(
            yaml,
            "  - task:\n      type: {}\n      name: {}\n    dataset:\n      type: custom\n      \
             name: {}\n      split: test\n    metrics:\n",
            quoted(&task.kind),
            quoted(&format!("{}, {}", task.kind, task.what)),
            quoted(dataset)
        );
        for (name, value) in &task.values {
            metric(yaml, name, &format!("{} {name}", task.what), *value);
        }
    }
}

/// Returns the metrics as a file of results, as the hub documents it for `.eval_results`. There is an entry
/// for each value, whose `task_id` names the task and the metric; values that are not finite are left out.
pub fn eval_results(facts: &CardFacts<'_>, metrics: &Metrics) -> String {
    let mut yaml = String::from(
        "# Results of this model on test rows. The hub lists the results of its benchmarks: if the data is \
         one of\n# them, replace the ids, which are names of files, and upload this file to .eval_results.\n",
    );
    let dataset = dataset(facts);
    let mut empty = true;
    for task in scores(metrics) {
        for (name, value) in task.values.iter().filter(|(_, value)| value.is_finite()) {
            empty = false;
            let _ = write!(
                yaml,
                "- dataset:\n    id: {}\n    task_id: {}\n  value: {value:.4}\n  notes: {}\n",
                quoted(&dataset),
                quoted(&format!("{} {name}", task.what)),
                quoted(&task.notes)
            );
        }
    }
    if empty {
        yaml.push_str("[]\n");
    }
    yaml
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
