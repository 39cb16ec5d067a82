//! Checking the geometry of maps: those of a run on its test items, or any ONNX file.
//!
//! The targets of each map of a run are the aligned items of the other modalities. Round trips are checked if
//! the map has an inverse.

use super::{
    files::{CHECKS, FailedChecks, read_json},
    model::{AlignedItems, LearnedModel},
};
use crate::{
    base::{environment::Environment, error::Error, npy::read_matrix, reporter::StageProgress},
    embed::EmbeddedItems,
    recipe::checks::settings_from_overrides,
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

/// The results of the checks of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RunChecks {
    /// The worst verdict.
    pub verdict: Verdict,
    /// Every check that failed, as `modality: check`.
    pub failed: Vec<String>,
    /// Every check that could not be made, as `modality: check`; empty if the recipe allows that.
    pub unknown: Vec<String>,
    /// The report of each map.
    pub maps: Vec<MapReport>,
}

/// The data that the maps of a run are checked with.
pub(super) struct CheckInputs<'a> {
    /// The test items of every modality.
    pub test: &'a [EmbeddedItems],
    /// The same items in the shared space.
    pub aligned: &'a [AlignedItems],
    /// The dimension that the training vectors of each modality span.
    pub spanned: &'a BTreeMap<String, usize>,
    /// The label of every row, and the training items, if the recipe names labels.
    pub labelled: Option<(RowLabels, &'a [EmbeddedItems])>,
}

/// Checks every map of a model on test items.
///
/// # Errors
/// If a graph is not a map of rows, or the engine fails.
pub(super) fn check_maps(
    model: &LearnedModel,
    items: &CheckInputs<'_>,
    settings: &CheckSettings,
    env: &Environment,
) -> Result<RunChecks, Error> {
    let mut maps = Vec::new();
    for (at, head) in model.heads.iter().enumerate() {
        if items.test[at].rows.is_empty() {
            continue; // without test items the map cannot be checked
        }
        let map = head.map()?;
        let others: Vec<_> =
            (0..items.aligned.len()).filter(|o| *o != at).map(|o| items.aligned[o].z.view()).collect();
        let others = concatenate(Axis(0), &others).map_err(|e| {
            Error::Internal(format!("joining the aligned items of the other modalities: {e}"))
        })?;
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
            reached: reached(items.spanned, &head.modality),
        };
        maps.push(subject_report(&subject, settings, env)?);
    }
    let failed = |report: &MapReport| -> Vec<String> {
        report.of(Verdict::Fail).map(|check| format!("{}: {}", report.map, check.name)).collect()
    };
    let unknown = |report: &MapReport| -> Vec<String> {
        report.unknown.iter().map(|name| format!("{}: {name}", report.map)).collect()
    };
    Ok(RunChecks {
        verdict: maps.iter().map(|report| report.verdict).max().unwrap_or(Verdict::Pass),
        failed: maps.iter().flat_map(failed).collect(),
        unknown: maps.iter().flat_map(unknown).collect(),
        maps,
    })
}

/// Returns the number of dimensions that a map of a modality was fitted to reach: the most that the training
/// vectors of another modality span.
fn reached(spanned: &BTreeMap<String, usize>, modality: &str) -> Option<usize> {
    spanned.iter().filter(|(other, _)| *other != modality).map(|(_, spanned)| *spanned).max()
}

/// Returns the dimension of the subspace that the vectors span.
///
/// # Errors
/// If they hold NaN.
pub fn spanned_dimension(rows: &Array2<f32>) -> Result<usize, Error> {
    chiasm_check::spanned(rows.view()).map_err(|e| Error::Internal(format!("the training vectors: {e}")))
}

/// Returns what an inverse of this kind claims.
fn claims(kind: InverseKind) -> InverseSides {
    InverseSides {
        left: matches!(kind, InverseKind::Left | InverseKind::TwoSided),
        right: matches!(kind, InverseKind::Right | InverseKind::TwoSided),
    }
}

fn subject_report(
    subject: &CheckInput<'_>,
    settings: &CheckSettings,
    env: &Environment,
) -> Result<MapReport, Error> {
    let options = SessionOptions { device: env.device, threads: env.threads, ..SessionOptions::default() };
    let d = subject.points.ncols();
    let o = subject.map.outputs().first().and_then(|port| port.fixed(-1)).unwrap_or(d);
    let total = settings.points_of(d, o).min(subject.points.nrows());
    let steps = StageProgress::begin(&*env.reporter, &format!("check {}", subject.name), total);
    let before = Mutex::new(0);
    let progress = |done: usize, _: usize| {
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        steps.add(done.saturating_sub(*before));
        *before = done;
    };
    let report = chiasm_check::check(subject, settings, env.engine()?, &options, &progress);
    report.map_err(|e| match e {
        chiasm_check::Error::Runtime(e) => Error::Runtime(e),
        e => {
            Error::input("chiasm::check::map", format!("{}: {e}", subject.name), "see `chiasm check --help`")
        }
    })
}

/// The files for a check of one graph.
#[derive(Debug, Clone)]
pub struct GraphCheckInput<'a> {
    /// The map, an .onnx file.
    pub graph: &'a Path,
    /// The points to check it at, an .npy file.
    pub at: &'a Path,
    /// The inverse, an .onnx file. It is checked as a two-sided inverse.
    pub inverse: Option<&'a Path>,
    /// The target points that the images should cover, an .npy file.
    pub onto: Option<&'a Path>,
}

/// Checks a map from an .onnx file.
///
/// # Errors
/// If a file cannot be read, the graph is not a map of rows, or the points do not have its input width.
pub fn check_graph(
    what: &GraphCheckInput<'_>,
    overrides: &[String],
    env: &Environment,
) -> Result<MapReport, Error> {
    let settings = settings_from_overrides(overrides, 0)?;
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
        reached: targets.as_ref().map(reached_by).transpose()?.flatten(),
    };
    subject_report(&subject, &settings, env)
}

/// Returns the number of dimensions that targets span; `None` if there are too few of them to tell.
fn reached_by(targets: &Array2<f32>) -> Result<Option<usize>, Error> {
    if targets.nrows() <= targets.ncols() {
        return Ok(None);
    }
    let spanned = chiasm_check::spanned(targets.view());
    let help = "give finite numbers [m, o] to --onto";
    spanned.map(Some).map_err(|e| Error::input("chiasm::check::targets", format!("the targets: {e}"), help))
}

/// The class of every row. Classes are numbered in the sorted order of the labels.
pub(super) struct RowLabels(Vec<usize>);

impl RowLabels {
    /// Returns the classes of the values of a column.
    pub fn new(values: &[Value]) -> Self {
        let names: Vec<String> = values.iter().map(Value::to_string).collect();
        let classes: BTreeSet<&String> = names.iter().collect();
        let numbers: BTreeMap<&String, usize> =
            classes.into_iter().enumerate().map(|(number, name)| (name, number)).collect();
        Self(names.iter().map(|name| numbers.get(name).copied().unwrap_or_default()).collect())
    }

    /// Returns the classes of some rows.
    pub fn of(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.0[*row]).collect()
    }
}

/// Returns every check of a finished run that failed or could not be made.
///
/// # Errors
/// If `checks.json` of the run cannot be read.
pub fn stored_failures(run: &Path) -> Result<FailedChecks, Error> {
    read_json(run, CHECKS)
}
