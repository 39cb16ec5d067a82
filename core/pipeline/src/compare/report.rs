//! The result of a comparison: a row for each run and variant, with its difference to the baseline.

use super::{
    folds::{CrossValidation, TaskCrossValidation},
    significance::{DRAWS, PairedDifference, RowSums, holm},
    task_significance::TaskSums,
};
use crate::run::{
    evaluate::{RetrievalSummary, TaskRows},
    query_scores::{QueryScores, StudyMetric, by_direction},
    task_score::TaskMetrics,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// The level below which a corrected p-value counts as evidence of a difference.
pub const SIGNIFICANT: f64 = 0.05;
/// The share of the score on all pairs that fewer pairs must reach.
const ENOUGH: f64 = 0.95;

/// The result of [`crate::compare()`]. The content of `comparison.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComparisonReport {
    /// The metric of the values and differences: the mean over all directions.
    pub metric: StudyMetric,
    /// The name of the row that all others are compared with.
    pub baseline: String,
    /// The name of the row with the highest value.
    pub best: String,
    /// The run folder of that row, fitted beside this file; `None` if it was a run already, or was not
    /// fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_run: Option<PathBuf>,
    /// What the comparison shows, in sentences.
    pub summary: Vec<String>,
    /// The number of test rows with queries, in the baseline.
    pub test_rows: usize,
    /// The number of bootstrap resamples of each interval and p-value.
    pub draws: usize,
    /// The number of seeds that each recipe was fitted with.
    pub seeds: usize,
    /// The numbers of pairs of the curves.
    pub pairs: Vec<usize>,
    /// The runs and variants, in the order in which they were given.
    pub rows: Vec<ComparisonRow>,
}

/// One row of a comparison: a run, or a variant of a recipe with one of its two scores.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComparisonRow {
    /// Its name, which no other row has.
    pub name: String,
    /// The run folder; `None` for a variant of a recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<PathBuf>,
    /// The recipe; `None` for a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<PathBuf>,
    /// The `--set` assignments with which `chiasm fit` makes a run of this row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The swapped keys of the recipe and their values.
    pub swapped: BTreeMap<String, String>,
    /// `plain`, or `bank` for scores with the hubness bank.
    pub score: String,
    /// Whether the recipe asks for this score. The other one is shown beside it.
    pub asked: bool,
    /// The metric, averaged over the seeds.
    pub value: f64,
    /// Its 95 % confidence interval.
    pub interval: [f64; 2],
    /// The metric of each seed.
    pub by_seed: Vec<f64>,
    /// The difference to the baseline; `None` for the baseline itself, or if the test queries are not the
    /// same.
    pub difference: Option<CorrectedDifference>,
    /// The difference to the row with the highest value; `None` for that row itself, or as above.
    pub to_best: Option<CorrectedDifference>,
    /// Every metric and `rsum`, averaged over the directions and the seeds (`rsum` is a sum over directions).
    pub metrics: BTreeMap<String, f64>,
    /// Every metric of each direction, averaged over the seeds.
    pub directions: BTreeMap<String, BTreeMap<String, f64>>,
    /// The metric on fewer pairs, in ascending order of their number; the last entry is that of all pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<CurvePoint>,
    /// The fewest pairs of the curve from which on the value is at least 95 % of that on all pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enough_pairs: Option<usize>,
    /// The fewest pairs of the curve that reach the value of the baseline on all pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs_for_baseline: Option<usize>,
    /// Retrieval on the test rows, with the first seed.
    pub test: RetrievalSummary,
    /// Pairs of modalities that no training row has together; their directions are emergent.
    pub emergent: Vec<[String; 2]>,
    /// Retrieval over the folds; `None` without cross-validation.
    pub cross_validation: Option<CrossValidation>,
    /// The scores of the fusion, if it was trained for a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<VariantTaskReport>,
    /// Seconds to fit and to score the test split with the first seed, including the parameter search; `None`
    /// for a run.
    pub fit_seconds: Option<f64>,
}

/// A difference of two rows, with the p-value corrected for the number of comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CorrectedDifference {
    /// The difference, its interval and its p-value.
    #[serde(flatten)]
    pub difference: PairedDifference,
    /// The p-value with Holm's correction over all rows that are compared with the same one.
    pub p_holm: f64,
}

impl CorrectedDifference {
    /// Returns whether the corrected p-value is below 0.05.
    pub fn is_significant(&self) -> bool {
        self.p_holm < SIGNIFICANT
    }
}

/// The metric of fits on some pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CurvePoint {
    /// The number of training rows with two or more modalities.
    pub pairs: usize,
    /// The metric, averaged over the seeds.
    pub value: f64,
    /// Its 95 % confidence interval.
    pub interval: [f64; 2],
}

/// The scores of a fusion in one variant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VariantTaskReport {
    /// Scores on the test rows.
    pub test: TaskMetrics,
    /// Scores over the folds.
    pub cross_validation: Option<TaskCrossValidation>,
    /// The score on the test rows, averaged over the seeds.
    #[serde(default)]
    pub value: f64,
    /// Its difference to the baseline's, tested like that of the metric; `None` for the baseline itself,
    /// beside a row with the same fusion, or if the tasks or the test rows are not the same.
    #[serde(default)]
    pub difference: Option<CorrectedDifference>,
}

impl VariantTaskReport {
    /// Returns the report of a fusion before it is compared.
    pub(super) fn of(test: TaskMetrics, cross_validation: Option<TaskCrossValidation>) -> Self {
        Self { value: test.score, test, cross_validation, difference: None }
    }
}

/// A row before the comparison, with the scores of every query for each seed. The rows of the queries have
/// the same numbers in all of them.
pub struct MeasuredRow {
    pub row: ComparisonRow,
    pub seeds: Vec<QueryScores>,
    /// What the test rows contribute to the score of the fusion, for each seed.
    pub task_seeds: Vec<TaskRows>,
    /// The number of all pairs, and the scores on fewer.
    pub all_pairs: usize,
    pub fewer: Vec<(usize, Vec<QueryScores>)>,
}

impl ComparisonRow {
    /// Returns a row without results.
    pub fn named(name: String, score: &str) -> Self {
        Self {
            name,
            run: None,
            recipe: None,
            set: Vec::new(),
            swapped: BTreeMap::new(),
            score: score.to_owned(),
            asked: true,
            value: f64::NAN,
            interval: [f64::NAN; 2],
            by_seed: Vec::new(),
            difference: None,
            to_best: None,
            metrics: BTreeMap::new(),
            directions: BTreeMap::new(),
            curve: Vec::new(),
            enough_pairs: None,
            pairs_for_baseline: None,
            test: RetrievalSummary { retrieval: BTreeMap::new(), rsum: 0.0 },
            emergent: Vec::new(),
            cross_validation: None,
            task: None,
            fit_seconds: None,
        }
    }
}

/// Returns the sums of a metric for each test row.
fn sums(seeds: &[QueryScores], metric: StudyMetric) -> Option<RowSums> {
    RowSums::of(&seeds.iter().map(|scores| scores.values(metric)).collect::<Vec<_>>())
}

/// Computes the values, intervals and differences of all rows. `baseline` is the index of a row.
pub fn report(measured: Vec<MeasuredRow>, baseline: usize, metric: StudyMetric) -> ComparisonReport {
    let all: Vec<Option<RowSums>> = measured.iter().map(|one| sums(&one.seeds, metric)).collect();
    // Both scores of a variant have the same fusion, which is compared once.
    let compared = |at: usize| measured[at].row.asked || at == baseline;
    let tasks: Vec<Option<TaskSums>> =
        (0..measured.len()).map(|at| task_sums(&measured[at]).filter(|_| compared(at))).collect();
    let seeds = measured.iter().map(|one| one.seeds.len()).max().unwrap_or(1);
    let pairs = measured.iter().find(|one| !one.fewer.is_empty());
    let pairs = pairs.map(|one| one.fewer.iter().map(|(count, _)| *count).collect()).unwrap_or_default();
    let mut rows: Vec<ComparisonRow> = measured.into_iter().map(|one| values(one, metric)).collect();
    let best = (0..rows.len()).fold(0, |best, at| if rows[at].value > rows[best].value { at } else { best });
    let retrieval = |own: &RowSums, other: &RowSums| Some(own.minus(other)?.tested(0));
    let to_baseline = differences(&all, baseline, &retrieval);
    let to_best = if best == baseline { to_baseline.clone() } else { differences(&all, best, &retrieval) };
    let of_tasks = differences(&tasks, baseline, &|own: &TaskSums, other| own.difference(other, 0));
    for ((row, task), difference) in rows.iter_mut().zip(&tasks).zip(of_tasks) {
        if let (Some(report), Some(task)) = (&mut row.task, task) {
            (report.value, report.difference) = (task.value(), difference);
        }
    }
    let reached = rows[baseline].value;
    for ((row, difference), to_best) in rows.iter_mut().zip(to_baseline).zip(to_best) {
        (row.difference, row.to_best) = (difference, to_best);
        let reaches = |point: &&CurvePoint| point.value >= reached;
        row.pairs_for_baseline = row.curve.iter().find(reaches).map(|point| point.pairs);
    }
    let test_rows = all[baseline].as_ref().map_or(0, RowSums::rows);
    let mut report = ComparisonReport {
        metric,
        baseline: rows[baseline].name.clone(),
        best: rows[best].name.clone(),
        best_run: None,
        summary: Vec::new(),
        test_rows,
        draws: DRAWS,
        seeds,
        pairs,
        rows,
    };
    report.summary = summary(&report);
    report
}

/// Fills the results of one row that concern no other row.
fn values(measured: MeasuredRow, metric: StudyMetric) -> ComparisonRow {
    let MeasuredRow { mut row, seeds, all_pairs, fewer, .. } = measured;
    let count = seeds.len().max(1) as f64;
    for metric in StudyMetric::ALL {
        for scores in &seeds {
            for (direction, value) in by_direction(&scores.values(metric)) {
                let of = row.directions.entry(direction).or_default();
                *of.entry(metric.name().to_owned()).or_default() += value / count;
            }
        }
        let of = row.directions.values().filter_map(|of| of.get(metric.name()));
        let mean = of.sum::<f64>() / row.directions.len() as f64;
        row.metrics.insert(metric.name().to_owned(), mean);
    }
    let recalls = ["recall@1", "recall@5", "recall@10"];
    let each = row.directions.values().flat_map(|of| recalls.iter().filter_map(|name| of.get(*name)));
    let rsum = 100.0 * each.sum::<f64>();
    row.metrics.insert("rsum".to_owned(), rsum);
    let point = |pairs: usize, seeds: &[QueryScores]| {
        let sums = sums(seeds, metric)?;
        Some(CurvePoint { pairs, value: sums.value(), interval: sums.interval(0) })
    };
    row.by_seed =
        seeds.iter().filter_map(|one| Some(sums(std::slice::from_ref(one), metric)?.value())).collect();
    if let Some(whole) = point(all_pairs, &seeds) {
        (row.value, row.interval) = (whole.value, whole.interval);
        if !fewer.is_empty() {
            row.curve = fewer.iter().filter_map(|(pairs, seeds)| point(*pairs, seeds)).collect();
            row.curve.push(whole);
            let enough = row.curve.iter().rev().take_while(|point| point.value >= ENOUGH * whole.value);
            row.enough_pairs = enough.last().filter(|_| whole.value > 0.0).map(|point| point.pairs);
        }
    }
    row
}

/// Returns the sums of the score of a row's fusion.
fn task_sums(one: &MeasuredRow) -> Option<TaskSums> {
    TaskSums::of(one.row.task.as_ref()?.test.kind, &one.task_seeds)
}

/// Returns the difference of every row to the row `to`, with Holm's correction.
fn differences<T>(
    all: &[Option<T>],
    to: usize,
    difference: &dyn Fn(&T, &T) -> Option<PairedDifference>,
) -> Vec<Option<CorrectedDifference>> {
    let tested = |(at, own): (usize, &Option<T>)| {
        if at == to {
            return None;
        }
        difference(own.as_ref()?, all[to].as_ref()?)
    };
    let tested: Vec<Option<PairedDifference>> = all.iter().enumerate().map(tested).collect();
    let corrected = holm(&tested.iter().flatten().map(|found| found.p).collect::<Vec<_>>());
    let mut corrected = corrected.into_iter();
    let with = |found: Option<PairedDifference>| {
        let difference = found?;
        corrected.next().map(|p_holm| CorrectedDifference { difference, p_holm })
    };
    tested.into_iter().map(with).collect()
}

/// Formats a p-value.
pub fn p_text(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

/// When a row is better than another.
const SHOWN: &str = "p < 0.05 after Holm's correction";

/// Says which row has the highest value, by how much, and which rows may be as good.
fn summary(report: &ComparisonReport) -> Vec<String> {
    let Some(best) = report.rows.iter().find(|row| row.name == report.best) else { return Vec::new() };
    let metric = report.metric.name();
    let [low, high] = best.interval;
    let mut first =
        format!("{} has the highest {metric}: {:.3} (95 % {low:.3} to {high:.3})", best.name, best.value);
    match &best.difference {
        None if best.name == report.baseline => first.push_str("; it is the baseline"),
        None => first.push_str(", but its test queries are not those of the baseline"),
        Some(found) => {
            let PairedDifference { mean, interval: [low, high], .. } = found.difference;
            let shown = if found.is_significant() { "" } else { ", which shows no difference" };
            first.push_str(&format!(
                ", {mean:.3} above the baseline {} (95 % {low:.3} to {high:.3}; {} after Holm's \
                 correction{shown})",
                report.baseline,
                p_text(found.p_holm)
            ));
        }
    }
    let others = report.rows.iter().filter(|row| row.name != best.name);
    let open = |row: &&ComparisonRow| row.to_best.is_some_and(|found| !found.is_significant());
    let (as_good, worse): (Vec<_>, Vec<_>) = others.filter(|row| row.to_best.is_some()).partition(open);
    let names =
        |rows: &[&ComparisonRow]| rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ");
    let second = match (as_good.as_slice(), worse.as_slice()) {
        ([], []) => return vec![first + "."],
        ([], worse) => format!("It is better than every other row: {} ({SHOWN}).", names(worse)),
        (open, []) => format!("No other row is shown to be worse ({SHOWN}): {}.", names(open)),
        (open, worse) => {
            format!("It is better than {} ({SHOWN}). {} may be as good.", names(worse), names(open))
        }
    };
    vec![first + ".", second]
}
