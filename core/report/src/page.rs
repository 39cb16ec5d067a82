//! The context of the template `report.html`, and its rendering.

use crate::{
    curves::{self, Curve},
    examples::{self, DirectionExamples, QUERIES, RANKED, RESULTS},
    sample::{ItemSample, ShownItem, sampled_rows},
    sections::{self, CheckTable, EncoderRow, FileRow, MetricRow, TaskTable, TimeRow},
    spaces::{self, PairTable, ProjectionFigures},
    stored::StoredResults,
    verdict::Verdict,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use chiasm_pipeline::{Error, Run, TestItems, visible};
use minijinja::{Environment, UndefinedBehavior, value::Serde};
use serde::Serialize;
use sha2::{Digest, Sha256};

const TEMPLATE: &str = include_str!("report.html");
const STUDY: &str = include_str!("study.html");
const COMPARISON: &str = include_str!("comparison.html");
pub const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// Everything that the template shows.
#[derive(Serialize)]
struct Page {
    style: &'static str,
    script: &'static str,
    /// The digest of the script, by which the page's policy allows it and no other.
    script_digest: String,
    modalities: String,
    trust: &'static str,
    verdict: String,
    parts: Parts,
    results: Results,
    items: Option<ItemSections>,
    /// Why there are no sections of items; empty if there are.
    no_items: String,
    checks: Vec<CheckTable>,
    merged: Option<String>,
    spectra: Vec<Curve>,
    trainings: Vec<Curve>,
    robustness: Vec<Curve>,
    attention: bool,
    times: Vec<TimeRow>,
    total: String,
    recipe: Option<String>,
    overrides: Vec<String>,
}

/// What was merged.
#[derive(Serialize)]
struct Parts {
    encoders: Vec<EncoderRow>,
    files: Vec<FileRow>,
    /// The size of the merged model.
    size: String,
    /// The digests of the inputs, by name.
    inputs: Vec<(String, String)>,
    rows: [usize; 3],
    skipped: usize,
    chiasm: String,
    engine: String,
    provider: String,
    seed: u64,
    key: String,
}

/// The metrics.
#[derive(Serialize)]
struct Results {
    rows: Vec<MetricRow>,
    figure: String,
    rsum: String,
    not_measured: Vec<String>,
    task: Option<TaskTable>,
}

/// The sections that need the test items.
#[derive(Serialize)]
struct ItemSections {
    projections: Vec<ProjectionFigures>,
    legend: String,
    geometry: Vec<PairTable>,
    examples: Vec<DirectionExamples>,
    /// The items as JSON, for the script.
    data: String,
    shown_rows: usize,
    all_rows: usize,
    left_out: usize,
}

/// Renders the page of a run; `items` are its test items, or why there are none.
pub fn render(
    run: &Run<'_>,
    stored: &StoredResults,
    verdict: &Verdict,
    items: Result<&[TestItems], &String>,
) -> Result<String, Error> {
    let sections = items.map_err(Clone::clone).and_then(|items| {
        item_sections(run, items).map_err(|error| visible(&error.to_string()).into_owned())
    });
    let (items, no_items) = match sections {
        Ok(items) => (Some(items), String::new()),
        Err(reason) => (None, reason),
    };
    let maps = stored.checks.as_ref().map(|checks| checks.maps.as_slice()).unwrap_or_default();
    let (times, total) = sections::times(stored.timings.as_deref().unwrap_or_default());
    let page = Page {
        style: STYLE,
        script: SCRIPT,
        script_digest: BASE64_STANDARD.encode(Sha256::digest(SCRIPT.as_bytes())),
        modalities: listed(&run.names()),
        trust: verdict.trust.name(),
        verdict: visible(&verdict.sentence).into_owned(),
        parts: parts(run)?,
        results: results(stored),
        items,
        no_items,
        checks: stored.checks.as_ref().map(sections::check_tables).unwrap_or_default(),
        merged: stored.checks.as_ref().and_then(sections::merged),
        spectra: curves::spectra(maps),
        trainings: curves::trainings(stored.trainings.as_deref().unwrap_or_default()),
        robustness: stored.robustness.as_ref().map(curves::robustness).unwrap_or_default(),
        attention: run.manifest.inputs.contains_key("plugin cross-attention"),
        times,
        total,
        recipe: stored.recipe.as_ref().map(|text| visible(text).into_owned()),
        overrides: stored.overrides.iter().map(|text| visible(text).replace('\'', "'\\''")).collect(),
    };
    fill("report.html", &page).map_err(|e| Error::Internal(format!("the template of the report: {e:#}")))
}

/// Returns a text of others as a page shows it.
pub fn said(text: &str) -> String {
    visible(text).into_owned()
}

/// Returns a score as a page shows it.
pub fn number(value: f64) -> String {
    format!("{value:.3}")
}

/// Renders a template of this crate.
pub fn fill(template: &str, page: &impl Serialize) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    // The names end in .html, so that every value is escaped unless the template says otherwise.
    templates.add_template("report.html", TEMPLATE)?;
    templates.add_template("comparison.html", COMPARISON)?;
    templates.add_template("study.html", STUDY)?;
    Ok(templates.get_template(template)?.render(Serde(page))?.trim_start().to_owned())
}

/// Joins names as in a sentence.
fn listed(names: &[&str]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.join(", "),
    }
}

fn parts(run: &Run<'_>) -> Result<Parts, Error> {
    let manifest = &run.manifest;
    let models = ["model.onnx", "model.onnx.data"].map(|name| run.folder().join(name));
    let size = models.iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum();
    Ok(Parts {
        encoders: sections::encoders(run)?,
        files: sections::files(run),
        size: sections::bytes(size),
        inputs: manifest.inputs.iter().map(|(name, digest)| (said(name), said(digest))).collect(),
        rows: [manifest.rows.train, manifest.rows.validation, manifest.rows.test],
        skipped: manifest.rows.skipped.len(),
        chiasm: said(&manifest.chiasm),
        engine: said(&manifest.engine),
        provider: said(&manifest.provider),
        seed: manifest.seed,
        key: said(&manifest.key),
    })
}

fn results(stored: &StoredResults) -> Results {
    let Some(metrics) = &stored.metrics else {
        let (rows, not_measured) = (Vec::new(), Vec::new());
        return Results { rows, figure: String::new(), rsum: String::new(), not_measured, task: None };
    };
    Results {
        rows: sections::metric_rows(metrics),
        figure: sections::recall_figure(metrics),
        rsum: format!("{:.1} of {:.0}", metrics.rsum, metrics.rsum_max),
        not_measured: metrics.not_measured.clone(),
        task: sections::task(metrics),
    }
}

fn item_sections(run: &Run<'_>, test: &[TestItems]) -> Result<ItemSections, Error> {
    let found = run.retrieval_examples(QUERIES, RESULTS, RANKED)?;
    let rows = sampled_rows(test);
    let mut places = examples::places(test, &found);
    let embedded = places.len();
    for (modality, own) in test.iter().enumerate() {
        places.extend(crate::sample::first_items(own, &rows).into_iter().map(|at| (modality, at)));
    }
    let sample = ItemSample::new(test, &places, embedded);
    let (projections, legend) = spaces::figures(test, &rows, &sample, run.manifest.seed);
    Ok(ItemSections {
        projections,
        legend,
        geometry: spaces::geometry(test, &rows, run.manifest.seed),
        examples: examples::examples(test, &found, &sample),
        data: script_data(&sample.items)?,
        shown_rows: rows.len(),
        all_rows: crate::sample::all_rows(test).len(),
        left_out: sample.left_out,
    })
}

/// Returns items as JSON that may stand in a script element: no character of it can end the element.
fn script_data(items: &[ShownItem]) -> Result<String, Error> {
    let text = serde_json::to_string(items).map_err(|e| Error::Internal(format!("items as JSON: {e}")))?;
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_an_item_ends_the_script_element() {
        let text = "</script><script>alert(1)</script><!--".to_owned();
        let item =
            ShownItem { modality: "a".into(), row: "1".into(), text: text.clone(), picture: "".into() };
        let data = script_data(&[item]).unwrap();
        assert!(!data.contains('<') && !data.contains('>'), "{data}");
        let read: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(read[0]["text"], text);
    }

    /// The page's policy allows the script by its digest, so nothing may be added to the script's element.
    #[test]
    fn the_script_and_the_style_cannot_end_their_elements() {
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        assert!(TEMPLATE.contains("<script>{{ script|safe }}</script>"));
        for source in [SCRIPT, STYLE, TEMPLATE, COMPARISON, STUDY] {
            assert!(!source.contains("http:") && !source.contains("https:") && !source.contains("//cdn"));
        }
    }
}
