//! Checking what maps do to the geometry: the maps of a run on its held-out items, or any ONNX file.
//!
//! Each map of a run should reach the images of the other modalities, and goes through its inverse where
//! there is one.

use super::{
    files::{CHECKS, FailedChecks, read_json},
    model::{Aligned, Model},
};
use crate::{
    base::{error::Error, npy::read_matrix, reporter::Steps, workbench::Workbench},
    embed::Embedded,
    recipe::checks::settings_of,
};
use chiasm_check::{CheckInput, CheckSettings, InverseSides, MapReport, ProbeLabels, Verdict};
use chiasm_graph::Graph;
use chiasm_host::InverseKind;
use chiasm_runtime::SessionOptions;
use ndarray::{Array2, Axis, concatenate};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// What was found of a run's maps.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// The worst verdict.
    pub verdict: Verdict,
    /// Every check that failed, as `modality: check`.
    pub failed: Vec<String>,
    /// One report a map.
    pub maps: Vec<MapReport>,
}

/// The held-out items of a run, and what else its maps are checked with.
pub(super) struct Items<'a> {
    /// Held-out items of every modality.
    pub test: &'a [Embedded],
    /// The same items in the shared space.
    pub aligned: &'a [Aligned],
    /// How many dimensions the training vectors of each modality span.
    pub spanned: &'a BTreeMap<String, usize>,
    /// The label of every row, and the training items, where the recipe names labels.
    pub labelled: Option<(RowLabels, &'a [Embedded])>,
}

/// Checks every map of a model on held-out items.
///
/// # Errors
/// When a map is none, or the engine refuses.
pub(super) fn check_maps(
    model: &Model,
    items: &Items<'_>,
    settings: &CheckSettings,
    bench: &Workbench,
) -> Result<Checked, Error> {
    let mut maps = Vec::new();
    for (at, head) in model.heads.iter().enumerate() {
        if items.test[at].rows.is_empty() {
            continue; // no held-out item shows what this map does
        }
        let map = head.map()?;
        let others: Vec<_> =
            (0..items.aligned.len()).filter(|o| *o != at).map(|o| items.aligned[o].z.view()).collect();
        let others = concatenate(Axis(0), &others)
            .map_err(|e| Error::Internal(format!("the images of the other modalities: {e}")))?;
        let labels = items.labelled.as_ref().map(|(labels, train)| ProbeLabels {
            labels: labels.of(&items.test[at].rows),
            training: train[at].pooled.view(),
            training_labels: labels.of(&train[at].rows),
        });
        let inverse = model.inverses[at].as_ref();
        let subject = CheckInput {
            name: &head.modality,
            map: &map,
            points: items.test[at].pooled.view(),
            inverse: inverse.map(|inverse| (&inverse.graph, claims(inverse.kind))),
            targets: Some(others.view()),
            labels,
            spanned: items.spanned.get(&head.modality).copied(),
        };
        maps.push(subject_report(&subject, settings, bench)?);
    }
    let failed = |report: &MapReport| -> Vec<String> {
        report.of(Verdict::Fail).map(|check| format!("{}: {}", report.map, check.name)).collect()
    };
    Ok(Checked {
        verdict: maps.iter().map(|report| report.verdict).max().unwrap_or(Verdict::Pass),
        failed: maps.iter().flat_map(failed).collect(),
        maps,
    })
}

/// How many dimensions vectors span.
///
/// # Errors
/// When they hold NaN.
pub fn span(rows: &Array2<f32>) -> Result<usize, Error> {
    chiasm_check::spanned(rows.view()).map_err(|e| Error::Internal(format!("the training vectors: {e}")))
}

/// What an inverse of this kind claims.
fn claims(kind: InverseKind) -> InverseSides {
    InverseSides {
        left: matches!(kind, InverseKind::Left | InverseKind::TwoSided),
        right: matches!(kind, InverseKind::Right | InverseKind::TwoSided),
    }
}

fn subject_report(
    subject: &CheckInput<'_>,
    settings: &CheckSettings,
    bench: &Workbench,
) -> Result<MapReport, Error> {
    let options =
        SessionOptions { device: bench.device, threads: bench.threads, ..SessionOptions::default() };
    let total = settings.points.min(subject.points.nrows());
    let steps = Steps::begin(&*bench.reporter, &format!("check {}", subject.name), total);
    let before = Mutex::new(0);
    let progress = |done: usize, _: usize| {
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        steps.add(done.saturating_sub(*before));
        *before = done;
    };
    let report = chiasm_check::check(subject, settings, bench.engine()?, &options, &progress);
    report.map_err(|e| match e {
        chiasm_check::Error::Runtime(e) => Error::Runtime(e),
        e => {
            Error::input("chiasm::check::map", format!("{}: {e}", subject.name), "see `chiasm check --help`")
        }
    })
}

/// A graph to check by itself, and the arrays it is checked with.
#[derive(Debug, Clone)]
pub struct GraphCheck<'a> {
    /// The map, an .onnx file.
    pub graph: &'a Path,
    /// The points, an .npy file.
    pub at: &'a Path,
    /// Its inverse, an .onnx file, taken to claim both ways.
    pub inverse: Option<&'a Path>,
    /// The cloud that images should reach, an .npy file.
    pub onto: Option<&'a Path>,
}

/// Checks a map that belongs to no run.
///
/// # Errors
/// When a file cannot be read, the graph is no map of rows, or the points do not fit it.
pub fn check_graph(
    what: &GraphCheck<'_>,
    overrides: &[String],
    bench: &Workbench,
) -> Result<MapReport, Error> {
    let settings = settings_of(overrides, 0)?;
    let load = |path: &Path| Graph::load(path).map_err(Error::graph(path.display().to_string()));
    let map = load(what.graph)?;
    let rows = |path: &Path| read_matrix(path).map(|rows| rows.mapv(|v| v as f32));
    let points: Array2<f32> = rows(what.at)?;
    let inverse = what.inverse.map(load).transpose()?;
    let targets = what.onto.map(rows).transpose()?;
    let name = what.graph.display().to_string();
    let subject = CheckInput {
        name: &name,
        map: &map,
        points: points.view(),
        inverse: inverse.as_ref().map(|graph| (graph, InverseSides { left: true, right: true })),
        targets: targets.as_ref().map(Array2::view),
        labels: None,
        spanned: None,
    };
    subject_report(&subject, &settings, bench)
}

/// The class of every row, numbered in the order of the labels' names.
pub(super) struct RowLabels(Vec<usize>);

impl RowLabels {
    /// The classes of a column's values.
    pub fn new(values: &[Value]) -> Self {
        let names: Vec<String> = values.iter().map(Value::to_string).collect();
        let classes: BTreeSet<&String> = names.iter().collect();
        let numbers: BTreeMap<&String, usize> =
            classes.into_iter().enumerate().map(|(number, name)| (name, number)).collect();
        Self(names.iter().map(|name| numbers.get(name).copied().unwrap_or_default()).collect())
    }

    /// Those of some rows.
    pub fn of(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.0[*row]).collect()
    }
}

/// Every check of a finished run that failed, as `modality: check`.
///
/// # Errors
/// When the run's checks cannot be read.
pub fn stored_failures(run: &Path) -> Result<Vec<String>, Error> {
    read_json::<FailedChecks>(run, CHECKS).map(|checks| checks.failed)
}
