//! Checking the maps of a run, or any map: `[checks]` of a recipe, the subjects, and what comes of them.
//!
//! A run's maps are checked on its held-out rows: each should reach the other's images, and the source's goes through the
//! inverse where there is one. The same code serves `fit` (maps in memory) and `check RUN` (maps from the folder).

use crate::{
    Error, Recipe, Workbench,
    data::Pairs,
    npy::read_matrix,
    problem::{Origin, Problem, Problems},
    reporter::Steps,
    tree::{self, At, Reader, Table},
    write::{CHECKS as CHECKS_FILE, LEARNED},
};
use chiasm_check::{CHECKS, Claims, Labels, Report, Settings, Subject, Verdict};
use chiasm_graph::Graph;
use chiasm_host::InverseKind;
use chiasm_runtime::SessionOptions;
use miette::NamedSource;
use ndarray::{Array2, ArrayView2};
use serde::Serialize;
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// `[checks]` as said.
#[derive(Debug, Clone, Default)]
pub struct ChecksRecipe {
    /// Points, tolerances and limits.
    pub settings: Settings,
    /// The column of the pairs that holds each row's label.
    pub labels: Option<At<String>>,
}

/// Reads `[checks]`: settings by their names, and limits as `<check> = { warn = .., fail = .. }`.
pub(crate) fn read_checks(root: &Reader<'_>) -> ChecksRecipe {
    let mut checks = ChecksRecipe::default();
    let Some(table) = root.table("checks") else { return checks };
    let settings = &mut checks.settings;
    let count = |key| table.count(key).map(|at| at.value as usize);
    settings.points = count("points").unwrap_or(settings.points).max(1);
    settings.neighbours = count("neighbours").unwrap_or(settings.neighbours).max(1);
    settings.expected_rank = count("expected_rank");
    if let Some(tolerance) = table.number("rank_tolerance") {
        settings.rank_tolerance = tolerance.value;
        if !(0.0..1.0).contains(&tolerance.value) {
            let message = format!(
                "`checks.rank_tolerance` expects a share of the largest singular value, 0 to 1, got {}",
                tolerance.value
            );
            root.problem(Problem::new("chiasm::recipe::checks", message).at(&tolerance.at, "this value"));
        }
    }
    checks.labels = table.string("labels");
    for check in CHECKS {
        if let Some(limits) = table.table(check.name) {
            let number = |key| {
                let limit = limits.number(key)?;
                if limit.value.is_nan() {
                    let message = format!(
                        "`checks.{}.{key}` expects a number, got nan, which nothing exceeds",
                        check.name
                    );
                    root.problem(Problem::new("chiasm::recipe::checks", message).at(&limit.at, "this limit"));
                }
                Some(limit.value)
            };
            checks.settings.set_limits(check, number("warn"), number("fail"));
            limits.finish();
        }
    }
    table.finish();
    checks
}

/// The settings that `--set checks.a=b` assignments make on their own, without a recipe.
///
/// # Errors
/// Every assignment that is not understood.
pub(crate) fn settings_of(overrides: &[String], seed: u64) -> Result<Settings, Problems> {
    let mut table = Table::new();
    for assignment in overrides {
        tree::set(&mut table, assignment)?;
    }
    let whole = Origin::new(&Arc::new(NamedSource::new("--set", String::new())), 0..0);
    let problems = RefCell::new(Problems::default());
    let root = Reader::new("", &table, &whole, &problems);
    let checks = read_checks(&root);
    root.finish();
    problems.into_inner().or(Some(Settings { seed, ..checks.settings }))
}

/// What was found of a run's maps.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// The worst verdict.
    pub verdict: Verdict,
    /// One report a map.
    pub maps: Vec<Report>,
}

impl Checked {
    /// Every check that failed, as `map: check`.
    pub fn failed(&self) -> Vec<String> {
        let of = |report: &Report| -> Vec<String> {
            report.of(Verdict::Fail).map(|check| format!("{}: {}", report.map, check.name)).collect()
        };
        self.maps.iter().flat_map(of).collect()
    }
}

/// One side of a run, ready to be checked.
pub(crate) struct Side<'a> {
    /// The modality.
    pub name: &'a str,
    /// Its map, `[n, d]` to `[n, k]`.
    pub map: &'a Graph,
    /// Its held-out rows.
    pub rows: ArrayView2<'a, f32>,
    /// The images of its held-out rows.
    pub images: ArrayView2<'a, f32>,
    /// The way back, where there is one.
    pub inverse: Option<(&'a Graph, InverseKind)>,
    /// Labels, where there are any.
    pub labels: Option<Labels<'a>>,
    /// Dimensions that the rows it was fitted on span, if that is known.
    pub spanned: Option<usize>,
}

/// Checks both sides of a run, each against the images of the other.
///
/// # Errors
/// When a map is none, or the engine refuses.
pub(crate) fn sides(sides: &[Side<'_>; 2], settings: &Settings, bench: &Workbench) -> Result<Checked, Error> {
    let mut maps = Vec::new();
    for (side, other) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
        let subject = Subject {
            name: side.name,
            map: side.map,
            points: side.rows,
            inverse: side.inverse.map(|(graph, kind)| (graph, claims(kind))),
            targets: Some(other.images),
            labels: side.labels.clone(),
            spanned: side.spanned,
        };
        maps.push(subject_report(&subject, settings, bench)?);
    }
    let verdict = maps.iter().map(|report| report.verdict).max().unwrap_or(Verdict::Pass);
    Ok(Checked { verdict, maps })
}

fn claims(kind: InverseKind) -> Claims {
    Claims {
        left: matches!(kind, InverseKind::Left | InverseKind::TwoSided),
        right: matches!(kind, InverseKind::Right | InverseKind::TwoSided),
    }
}

/// What some training rows span.
pub(crate) fn span(rows: &Array2<f32>) -> Result<usize, Error> {
    chiasm_check::spanned(rows.view()).map_err(|e| Error::Internal(format!("the training rows: {e}")))
}

fn subject_report(subject: &Subject<'_>, settings: &Settings, bench: &Workbench) -> Result<Report, Error> {
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
pub fn check_graph(what: &GraphCheck<'_>, overrides: &[String], bench: &Workbench) -> Result<Report, Error> {
    let settings = settings_of(overrides, bench.seed)?;
    let load = |path: &Path| Graph::load(path).map_err(Error::graph(path.display().to_string()));
    let map = load(what.graph)?;
    let rows = |path: &Path| read_matrix(path).map(|rows| rows.mapv(|v| v as f32));
    let points: Array2<f32> = rows(what.at)?;
    let inverse = what.inverse.map(load).transpose()?;
    let targets = what.onto.map(rows).transpose()?;
    let name = what.graph.display().to_string();
    let subject = Subject {
        name: &name,
        map: &map,
        points: points.view(),
        inverse: inverse.as_ref().map(|graph| (graph, Claims { left: true, right: true })),
        targets: targets.as_ref().map(Array2::view),
        labels: None,
        spanned: None,
    };
    subject_report(&subject, &settings, bench)
}

/// One side of a run that was opened, with all that a check borrows.
pub(crate) struct OwnedSide {
    /// The modality.
    pub name: String,
    /// Its map.
    pub map: Graph,
    /// Its held-out rows.
    pub rows: Array2<f32>,
    /// Their images.
    pub images: Array2<f32>,
    /// The labels of all rows, and the training rows, where there are labels.
    pub labelled: Option<(RowLabels, Array2<f32>)>,
    /// What the fit found the training rows to span.
    pub spanned: Option<usize>,
}

impl OwnedSide {
    /// As a check takes it, without an inverse.
    pub fn borrowed(&self, test: &[usize], train: &[usize]) -> Side<'_> {
        let labels = self.labelled.as_ref().map(|(labels, rows)| labels.of(test, train, rows.view()));
        let (rows, images) = (self.rows.view(), self.images.view());
        Side { name: &self.name, map: &self.map, rows, images, inverse: None, labels, spanned: self.spanned }
    }
}

/// The class of every row of the pairs, numbered in the order of the labels' names.
pub(crate) struct RowLabels(Vec<usize>);

impl RowLabels {
    /// Those of some rows, beside the training rows they are learned from.
    pub fn of<'a>(&self, test: &[usize], train: &[usize], training: ArrayView2<'a, f32>) -> Labels<'a> {
        let pick = |rows: &[usize]| rows.iter().map(|row| self.0[*row]).collect();
        Labels { labels: pick(test), training, training_labels: pick(train) }
    }
}

impl Recipe {
    /// The settings of `[checks]` with the recipe's seed.
    pub(crate) fn check_settings(&self) -> Settings {
        Settings { seed: self.seed, ..self.checks.settings.clone() }
    }

    /// The labels of all rows, when `checks.labels` names their column.
    pub(crate) fn labels_of(&self, pairs: &Pairs) -> Option<RowLabels> {
        let values = pairs.values(&self.checks.labels.as_ref()?.value);
        let names: Vec<String> = values.iter().map(Value::to_string).collect();
        let classes: BTreeSet<&String> = names.iter().collect();
        let number = |name| classes.iter().position(|class| *class == name).unwrap_or_default();
        Some(RowLabels(names.iter().map(number).collect()))
    }
}

/// In which sense a run's inverse is one; `None` without an inverse.
pub(crate) fn inverse_kind(run: &Path) -> Result<Option<InverseKind>, Error> {
    let learned = read_json(&run.join(LEARNED))?;
    serde_json::from_value(learned["inverse"].clone()).map_err(|e| damaged(&run.join(LEARNED), &e))
}

/// What the fit found the training rows of a run's maps to span, by modality.
pub(crate) fn stored_spans(run: &Path) -> Result<BTreeMap<String, usize>, Error> {
    let checks = read_json(&run.join(CHECKS_FILE))?;
    let maps = checks["maps"].as_array().into_iter().flatten();
    let span =
        |map: &Value| Some((map["map"].as_str()?.to_owned(), map["jacobian"]["spanned"].as_u64()? as usize));
    Ok(maps.filter_map(span).collect())
}

/// Every check of a finished run that failed.
pub(crate) fn stored_failures(run: &Path) -> Result<Vec<String>, Error> {
    let checks = read_json(&run.join(CHECKS_FILE))?;
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let failed = |map: &Value| -> Vec<String> {
        let failed = list(map, "checks").into_iter().filter(|check| check["verdict"] == "fail");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        failed.map(|check| format!("{}: {}", text(&map["map"]), text(&check["name"]))).collect()
    };
    Ok(list(&checks, "maps").iter().flat_map(failed).collect())
}

fn read_json(path: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    serde_json::from_str(&text).map_err(|e| damaged(path, &e))
}

fn damaged(path: &Path, error: &serde_json::Error) -> Error {
    Error::input("chiasm::run::damaged", format!("{}: {error}", path.display()), "fit the run again")
}
