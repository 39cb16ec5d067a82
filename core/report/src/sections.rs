//! The tables of the page: what was merged, metrics, checks, time and digests.

use crate::{
    figure::{Interval, intervals},
    stored::{StoredChecks, StoredMap},
};
use chiasm_check::digits;
use chiasm_pipeline::{Error, Metrics, ModelCard, Run, visible};
use serde::Serialize;

/// One encoder of the run.
#[derive(Debug, Clone, Serialize)]
pub struct EncoderRow {
    pub modality: String,
    pub name: String,
    pub adapter: String,
    pub width: usize,
    pub licence: String,
    pub source: String,
    /// The SHA-256 of the weights, or empty for a file of vectors.
    pub weights: String,
}

/// Returns the encoders of a run with what their cards say.
///
/// # Errors
/// If a card cannot be read.
pub fn encoders(run: &Run<'_>) -> Result<Vec<EncoderRow>, Error> {
    let mut rows = Vec::new();
    for modality in &run.manifest.modalities {
        for encoder in &modality.encoders {
            let card = match &encoder.folder {
                Some(folder) => run.stored_text(&format!("{}/card.toml", folder.as_str()))?,
                None => None,
            };
            let card: Option<ModelCard> = card.and_then(|text| toml::from_str(&text).ok());
            let said = |text: Option<&String>| match text.map(String::as_str) {
                None | Some("") => "not stated".to_owned(),
                Some(text) => visible(text).into_owned(),
            };
            let name = format!("{}/{}", modality.name, encoder.name);
            let frozen = run.manifest.frozen_weights.get(&name).filter(|_| encoder.folder.is_some());
            rows.push(EncoderRow {
                modality: modality.name.clone(),
                name: visible(&encoder.name).into_owned(),
                adapter: visible(&encoder.adapter).into_owned(),
                width: encoder.pooled,
                licence: said(card.as_ref().map(|card| &card.licence)),
                source: said(card.as_ref().map(|card| &card.source)),
                weights: frozen.cloned().unwrap_or_default(),
            });
        }
    }
    Ok(rows)
}

/// A file of the run.
#[derive(Debug, Clone, Serialize)]
pub struct FileRow {
    pub name: String,
    pub size: String,
    pub digest: String,
}

/// Returns the files that the fit recorded, with their sizes.
pub fn files(run: &Run<'_>) -> Vec<FileRow> {
    let mut rows = Vec::new();
    for (name, digest) in &run.manifest.outputs {
        let size = std::fs::metadata(run.folder().join(name.as_str())).map(|found| bytes(found.len()));
        rows.push(FileRow {
            name: visible(name.as_str()).into_owned(),
            size: size.unwrap_or_default(),
            digest: digest.clone(),
        });
    }
    rows
}

/// Formats a number of bytes.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// The metrics of one direction.
#[derive(Debug, Clone, Serialize)]
pub struct MetricRow {
    pub name: String,
    pub recall_1: String,
    pub interval: String,
    pub recall_5: String,
    pub recall_10: String,
    pub mrr: String,
    pub median: String,
    pub chance: String,
    /// recall@1 of the control with shuffled pairs.
    pub shuffled: String,
    pub queries: usize,
    pub gallery: usize,
    pub emergent: bool,
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// Returns the metrics of every direction, then those of joint queries.
pub fn metric_rows(metrics: &Metrics) -> Vec<MetricRow> {
    let joint = metrics.joint.iter().map(|(name, joint)| (name, &joint.metrics));
    let row = |(name, scored): (&String, &chiasm_pipeline::DirectionMetrics)| {
        let shuffled = metrics.shuffled_pairs.as_ref().and_then(|control| control.retrieval.get(name));
        let [low, high] = scored.interval.map(percent);
        MetricRow {
            name: name.clone(),
            recall_1: percent(scored.figures.recall_at_1),
            interval: format!("{low} to {high}"),
            recall_5: percent(scored.figures.recall_at_5),
            recall_10: percent(scored.figures.recall_at_10),
            mrr: format!("{:.3}", scored.figures.mrr),
            median: format!("{:.1}", scored.figures.median_rank),
            chance: percent(scored.chance.recall_at_1),
            shuffled: shuffled.map_or_else(String::new, |scores| percent(scores.recall_at_1)),
            queries: scored.queries,
            gallery: scored.gallery,
            emergent: scored.emergent,
        }
    };
    metrics.retrieval.iter().chain(joint).map(row).collect()
}

/// Returns recall@1 of every direction as a figure.
pub fn recall_figure(metrics: &Metrics) -> String {
    let share = |(name, scored): (&String, &chiasm_pipeline::DirectionMetrics)| Interval {
        name: name.clone(),
        value: scored.figures.recall_at_1,
        ends: scored.interval,
        chance: scored.chance.recall_at_1,
        control: (metrics.shuffled_pairs.as_ref())
            .and_then(|control| Some(control.retrieval.get(name)?.recall_at_1)),
    };
    let shares: Vec<Interval> = metrics.retrieval.iter().map(share).collect();
    intervals("recall@1 of every direction with its 95 % interval, chance and the shuffled control", &shares)
}

/// The score of the fusion on its task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskTable {
    pub sentence: String,
    /// Names and scores: baselines, and the fusion with one modality hidden.
    pub rows: Vec<(String, String)>,
}

/// Returns the score of the fusion, if it has a task.
pub fn task(metrics: &Metrics) -> Option<TaskTable> {
    let task = metrics.task.as_ref()?;
    let [low, high] = task.interval.map(digits);
    let hidden = task.without.iter().map(|(name, score)| (format!("without {name}"), digits(*score)));
    let baselines =
        task.baselines.iter().map(|(name, score)| (format!("baseline: {}", visible(name)), digits(*score)));
    let more = task.figures.iter().map(|(name, value)| (visible(name).into_owned(), digits(*value)));
    Some(TaskTable {
        sentence: format!(
            "{} of the fusion on its task: {} (95 % interval {low} to {high}) on {} rows.",
            task.metric,
            digits(task.score),
            task.rows
        ),
        rows: hidden.chain(baselines).chain(more).collect(),
    })
}

/// The checks of one map.
#[derive(Debug, Clone, Serialize)]
pub struct CheckTable {
    pub map: String,
    pub rows: Vec<CheckRow>,
    /// The checks that do not apply, with the reasons.
    pub skipped: Vec<String>,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct CheckRow {
    pub verdict: String,
    pub name: String,
    pub number: String,
    pub meaning: String,
}

/// Returns every check of every map, those that did not pass first.
pub fn check_tables(checks: &StoredChecks) -> Vec<CheckTable> {
    let table = |map: &StoredMap| {
        let mut rows: Vec<CheckRow> = (map.checks.iter())
            .map(|check| CheckRow {
                verdict: visible(&check.verdict).to_uppercase(),
                name: visible(&check.name).into_owned(),
                number: check.number.map_or_else(String::new, digits),
                meaning: visible(&check.meaning).into_owned(),
            })
            .collect();
        let severity = |row: &CheckRow| ["FAIL", "UNKNOWN", "WARN"].iter().position(|v| *v == row.verdict);
        rows.sort_by_key(|row| severity(row).unwrap_or(usize::MAX));
        CheckTable {
            map: format!("{}: {} to {} dimensions", visible(&map.map), map.input, map.output),
            rows,
            skipped: map
                .skipped
                .iter()
                .map(|one| visible(&format!("{} ({})", one.name, one.reason)).into())
                .collect(),
        }
    };
    checks.maps.iter().map(table).collect()
}

/// Returns the sentence about the comparison of the merged model with its parts.
pub fn merged(checks: &StoredChecks) -> Option<String> {
    let merged = checks.merged.as_ref()?;
    let most = merged.staged_against_merged.values().copied().fold(0.0, f64::max);
    let how =
        if most == 0.0 { "are equal to".to_owned() } else { format!("differ by at most {most:.1e} from") };
    Some(format!(
        "On {} combinations of items the outputs of the merged model {how} those of its parts.",
        merged.rows
    ))
}

/// The duration of one stage.
#[derive(Debug, Clone, Serialize)]
pub struct TimeRow {
    pub stage: String,
    pub seconds: String,
    /// The share of the whole, in percent.
    pub share: String,
}

/// Returns the duration of every stage, and the sum.
pub fn times(timings: &[(String, f64)]) -> (Vec<TimeRow>, String) {
    let total: f64 = timings.iter().map(|(_, seconds)| seconds).sum();
    let row = |(stage, seconds): &(String, f64)| TimeRow {
        stage: visible(stage).into_owned(),
        seconds: format!("{seconds:.2}"),
        share: format!("{:.0}", if total > 0.0 { 100.0 * seconds / total } else { 0.0 }),
    };
    (timings.iter().map(row).collect(), format!("{total:.2}"))
}
