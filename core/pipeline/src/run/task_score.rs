//! Scoring the predictions of a fusion on the test rows, with each modality hidden and for trivial baselines.

use super::fusion_inputs::{FusionInputs, RetrievalTargets};
use crate::{
    base::error::Error,
    plan::task::{GroundTruth, TaskPlan},
};
use chiasm_geometry::{
    retrieval::{Retrieval, RetrievalItems, bootstrap},
    scores,
};
use chiasm_host::TaskKind;
use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of bootstrap resamples, and the confidence level.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;

/// The content of `task` in `metrics.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskMetrics {
    /// The kind of task.
    pub kind: TaskKind,
    /// The metric of all scores: `accuracy`, `micro_f1` (a label is predicted if its logit is positive), `r2`
    /// (the mean over columns), or `rsum` (the sum of recall@1, @5 and @10 in percent, at most 300).
    pub metric: String,
    /// The score on the test rows.
    pub score: f64,
    /// The 95 % confidence interval of the score, bootstrapped over the rows.
    pub interval: [f64; 2],
    /// The score with one modality hidden, by modality.
    pub without: BTreeMap<String, f64>,
    /// The scores of baselines without a fusion: the most frequent class; all labels; for retrieval, the
    /// aligned vector of each modality and their sum.
    pub baselines: BTreeMap<String, f64>,
    /// Further metrics: macro F1, micro F1 and ROC AUC for classes and labels; the mean absolute error for
    /// numbers; recall@1, @5, @10 and MRR for retrieval.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// Number of rows.
    pub rows: usize,
    /// What each row contributes to the score; empty once the metrics were stored.
    #[serde(skip)]
    pub(crate) contributions: Vec<RowContribution>,
}

/// Scores predictions for some rows.
pub(super) struct TaskScorer<'a> {
    /// The task and its ground truth.
    pub task: &'a TaskPlan,
    /// The rows, their aligned vectors and, for retrieval, their targets.
    pub inputs: &'a FusionInputs,
    /// Seed of the bootstrap.
    pub seed: u64,
}

impl TaskScorer<'_> {
    /// Scores predictions. `predict` is called without a hidden modality, then with the index of each one as
    /// hidden.
    ///
    /// # Errors
    /// Those of `predict`.
    pub fn score(
        &self,
        predict: &dyn Fn(Option<usize>) -> Result<Array2<f32>, Error>,
    ) -> Result<TaskMetrics, Error> {
        let kind = self.task.task.kind;
        let (metric, statistic) = statistic(kind);
        let predictions = predict(None)?;
        let rows = self.contributions(&predictions)?;
        let interval = bootstrap(&rows, statistic, DRAWS, LEVEL, self.seed).map_err(scoring)?;
        let mut without = BTreeMap::new();
        for (at, name) in self.inputs.names.iter().enumerate() {
            without.insert(name.clone(), statistic(&self.contributions(&predict(Some(at))?)?));
        }
        Ok(TaskMetrics {
            kind,
            metric: metric.to_owned(),
            score: statistic(&rows),
            interval: [interval.0, interval.1],
            without,
            baselines: self.baselines(statistic)?,
            figures: self.figures(&predictions)?,
            rows: self.inputs.rows.len(),
            contributions: rows,
        })
    }

    fn baselines(&self, statistic: Statistic) -> Result<BTreeMap<String, f64>, Error> {
        let columns = self.task.task.labels.len();
        let rows = &self.inputs.rows;
        let constant = |column: Option<usize>| {
            Array2::from_shape_fn((rows.len(), columns), |(_, c)| {
                if column.is_none_or(|own| own == c) { 1.0 } else { 0.0 }
            })
        };
        let mut all: Vec<(String, Array2<f32>)> = Vec::new();
        match &self.task.truth {
            GroundTruth::Class(classes) => {
                let count = |class: usize| rows.iter().filter(|row| classes[**row] == Some(class)).count();
                let commonest = (0..columns).max_by_key(|class| count(*class));
                all.push(("commonest_class".to_owned(), constant(commonest)));
            }
            GroundTruth::Labels(_) => all.push(("every_label".to_owned(), constant(None))),
            GroundTruth::Numbers(_) => {}
            GroundTruth::Others { .. } => {
                let pooled = &self.inputs.pooled;
                all.extend(self.inputs.names.iter().cloned().zip(pooled.iter().cloned()));
                let sum = |sum: Array2<f32>, next: &Array2<f32>| sum + next;
                if let Some((first, rest)) = pooled.split_first() {
                    all.push(("sum".to_owned(), rest.iter().fold(first.clone(), sum)));
                }
            }
        }
        all.into_iter()
            .map(|(name, predictions)| Ok((name, statistic(&self.contributions(&predictions)?))))
            .collect()
    }

    /// Returns the contribution of each row to the statistic.
    fn contributions(&self, predictions: &Array2<f32>) -> Result<Vec<RowContribution>, Error> {
        let rows = self.inputs.rows.iter().zip(predictions.outer_iter());
        Ok(match &self.task.truth {
            GroundTruth::Class(classes) => {
                let right = |(row, prediction): (&usize, ArrayView1<'_, f32>)| {
                    let found = largest(prediction);
                    [f64::from(u8::from(found.is_some() && found == classes[*row])), 0.0, 0.0]
                };
                rows.map(right).collect()
            }
            GroundTruth::Labels(labels) => {
                let counts = |(row, prediction): (&usize, ArrayView1<'_, f32>)| {
                    let hold = |column: &usize| labels[*row].contains(column);
                    let given: Vec<usize> =
                        (0..prediction.len()).filter(|column| prediction[*column] > 0.0).collect();
                    let right = given.iter().filter(|column| hold(column)).count();
                    [right, given.len() - right, labels[*row].len() - right].map(|count| count as f64)
                };
                rows.map(counts).collect()
            }
            GroundTruth::Numbers(numbers) => errors(&numbers.select(Axis(0), &self.inputs.rows), predictions),
            GroundTruth::Others { .. } => match &self.inputs.targets {
                Some(targets) => recalls(predictions, targets)?,
                None => Vec::new(),
            },
        })
    }

    /// Returns the further metrics.
    fn figures(&self, predictions: &Array2<f32>) -> Result<BTreeMap<String, f64>, Error> {
        let mut figures = BTreeMap::new();
        let mut add = |name: &str, value: Option<f64>| {
            figures.extend(value.filter(|v| v.is_finite()).map(|value| (name.to_owned(), value)));
        };
        let rows = &self.inputs.rows;
        match &self.task.truth {
            GroundTruth::Class(classes) => {
                let unknown = self.task.task.labels.len();
                let truth: Vec<usize> = rows.iter().map(|row| classes[*row].unwrap_or(unknown)).collect();
                let found: Vec<usize> = predictions
                    .outer_iter()
                    .map(|prediction| largest(prediction).unwrap_or_default())
                    .collect();
                let counts = scores::ConfusionCounts::per_class(&truth, &found).map_err(scoring)?;
                add("macro_f1", Some(scores::macro_f1(&counts)));
                add("micro_f1", Some(scores::micro_f1(&counts)));
                let known: Vec<usize> = (0..truth.len()).filter(|at| truth[*at] < unknown).collect();
                let truth: Vec<usize> = known.iter().map(|at| truth[*at]).collect();
                let shares = softmax(predictions.select(Axis(0), &known));
                if !truth.is_empty() {
                    add("roc_auc", scores::roc_auc_one_vs_rest(&truth, shares.view()).map_err(scoring)?);
                }
            }
            GroundTruth::Labels(labels) => {
                let truth = Array2::from_shape_fn(predictions.dim(), |(r, c)| labels[rows[r]].contains(&c));
                let found = predictions.mapv(|logit| logit > 0.0);
                let counts =
                    scores::ConfusionCounts::per_label(truth.view(), found.view()).map_err(scoring)?;
                add("macro_f1", Some(scores::macro_f1(&counts)));
                add("micro_f1", Some(scores::micro_f1(&counts)));
                add("roc_auc", scores::macro_roc_auc(truth.view(), predictions.view()).map_err(scoring)?);
            }
            GroundTruth::Numbers(numbers) => {
                let truth = numbers.select(Axis(0), rows);
                let error = scores::mean_absolute_error(truth.view(), predictions.view());
                add("mean_absolute_error", Some(error.map_err(scoring)?));
            }
            GroundTruth::Others { .. } => {
                if let Some(targets) = &self.inputs.targets {
                    let found = retrieve(predictions, targets)?;
                    add("recall@1", Some(found.recall_at_1));
                    add("recall@5", Some(found.recall_at_5));
                    add("recall@10", Some(found.recall_at_10));
                    add("mrr", Some(found.mrr));
                }
            }
        }
        Ok(figures)
    }
}

/// The contribution of one row to a statistic, which is a function of the sums over rows.
pub(crate) type RowContribution = [f64; 3];
type Statistic = fn(&[RowContribution]) -> f64;

/// Returns the score of a task for the sums of the contributions of `rows` rows.
pub(crate) fn score_of_sums(kind: TaskKind, [first, second, third]: RowContribution, rows: usize) -> f64 {
    match kind {
        TaskKind::Classification => first / rows.max(1) as f64,
        TaskKind::MultiLabel => 2.0 * first / (2.0 * first + second + third).max(1.0),
        TaskKind::Regression => 1.0 - first / second,
        TaskKind::Retrieval => 100.0 * (first + second + third) / rows.max(1) as f64,
    }
}

/// Returns the name of the metric of a task, and the function that computes it from the rows.
fn statistic(kind: TaskKind) -> (&'static str, Statistic) {
    match kind {
        TaskKind::Classification => ("accuracy", |rows| scored(TaskKind::Classification, rows)),
        TaskKind::MultiLabel => ("micro_f1", |rows| scored(TaskKind::MultiLabel, rows)),
        TaskKind::Regression => ("r2", |rows| scored(TaskKind::Regression, rows)),
        TaskKind::Retrieval => ("rsum", |rows| scored(TaskKind::Retrieval, rows)),
    }
}

fn scored(kind: TaskKind, rows: &[RowContribution]) -> f64 {
    let sum = |at: usize| rows.iter().map(|row| row[at]).sum();
    score_of_sums(kind, [0, 1, 2].map(sum), rows.len())
}

/// Returns the column with the largest value.
fn largest(prediction: ArrayView1<'_, f32>) -> Option<usize> {
    (0..prediction.len()).max_by(|a, b| prediction[*a].total_cmp(&prediction[*b]))
}

fn softmax(mut logits: Array2<f32>) -> Array2<f32> {
    for mut row in logits.rows_mut() {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.mapv_inplace(|x| (x - top).exp());
        let total = row.sum();
        row.mapv_inplace(|x| x / total);
    }
    logits
}

/// Returns the squared errors and the squared deviations from the mean, each column divided by its variance.
fn errors(truth: &Array2<f32>, predictions: &Array2<f32>) -> Vec<RowContribution> {
    let mut contributions = vec![[0.0; 3]; truth.nrows()];
    for (truth, prediction) in truth.columns().into_iter().zip(predictions.columns()) {
        let count = truth.len().max(1) as f64;
        let mean = truth.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let variance = truth.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
        if variance == 0.0 {
            continue; // R2 is not defined for a constant column
        }
        for ((contribution, truth), prediction) in contributions.iter_mut().zip(truth).zip(prediction) {
            contribution[0] += f64::from(truth - prediction).powi(2) / variance;
            contribution[1] += (f64::from(*truth) - mean).powi(2) / variance;
        }
    }
    contributions
}

/// Retrieves the target items of each row with its fused vector, among the targets of all rows.
fn retrieve_targets<T>(
    predictions: &Array2<f32>,
    targets: &RetrievalTargets,
    read: impl FnOnce(&Retrieval<'_>) -> T,
) -> Result<T, Error> {
    let own: Vec<usize> = (0..predictions.nrows()).collect();
    let of = |(row, count): (usize, &usize)| std::iter::repeat_n(row, *count);
    let groups: Vec<usize> = targets.counts.iter().enumerate().flat_map(of).collect();
    let queries = RetrievalItems { vectors: predictions.view(), groups: &own };
    let gallery = RetrievalItems { vectors: targets.items.view(), groups: &groups };
    Ok(read(&Retrieval::new(queries, gallery, None).map_err(scoring)?))
}

fn recalls(predictions: &Array2<f32>, targets: &RetrievalTargets) -> Result<Vec<RowContribution>, Error> {
    let found = retrieve_targets(predictions, targets, |retrieval| retrieval.outcomes())?;
    Ok(found.outcomes.iter().map(|outcome| [1, 5, 10].map(|k| outcome.first.recall(k))).collect())
}

fn retrieve(
    predictions: &Array2<f32>,
    targets: &RetrievalTargets,
) -> Result<chiasm_geometry::retrieval::RetrievalScores, Error> {
    retrieve_targets(predictions, targets, |retrieval| retrieval.outcomes().scores())
}

fn scoring(error: chiasm_geometry::Error) -> Error {
    Error::Internal(format!("scoring the task: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_host::Task;
    use ndarray::array;

    fn inputs(rows: usize, targets: Option<RetrievalTargets>) -> FusionInputs {
        FusionInputs {
            rows: (0..rows).collect(),
            names: vec!["image".into(), "text".into()],
            pooled: vec![Array2::zeros((rows, 2)), Array2::zeros((rows, 2))],
            tokens: vec![None, None],
            present: vec![Array2::ones((rows, 1)); 2],
            targets,
        }
    }

    fn plan(kind: TaskKind, labels: &[&str], truth: GroundTruth) -> TaskPlan {
        TaskPlan { task: Task { kind, labels: labels.iter().map(|l| (*l).to_owned()).collect() }, truth }
    }

    fn score(task: &TaskPlan, inputs: &FusionInputs, predictions: &Array2<f32>) -> TaskMetrics {
        TaskScorer { task, inputs, seed: 1 }.score(&|_| Ok(predictions.clone())).unwrap()
    }

    #[test]
    fn a_class_without_training_rows_counts_as_an_error() {
        let task = plan(
            TaskKind::Classification,
            &["a", "b"],
            GroundTruth::Class(vec![Some(0), None, Some(1), Some(1)]),
        );
        let predictions = array![[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [3.0, 1.0]];
        let metrics = score(&task, &inputs(4, None), &predictions);
        assert_eq!((metrics.metric.as_str(), metrics.score), ("accuracy", 0.5));
        assert_eq!(metrics.baselines["commonest_class"], 0.5);
        assert!(metrics.interval[0] <= 0.5 && metrics.interval[1] >= 0.5, "{:?}", metrics.interval);
        // F1: 2/3 for class a (tp 1, fp 1, fn 0), 1/2 for class b (tp 1, fp 1, fn 1), 0 for the unknown class
        assert!((metrics.figures["macro_f1"] - (2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12);
    }

    /// tp = 2, fp = 1, fn = 1, so F1 = 2 tp / (2 tp + fp + fn) = 4 / 6.
    #[test]
    fn micro_f1_equals_the_value_computed_by_hand() {
        let task = plan(TaskKind::MultiLabel, &["a", "b"], GroundTruth::Labels(vec![vec![0], vec![0, 1]]));
        let metrics = score(&task, &inputs(2, None), &array![[1.0, 1.0], [1.0, -1.0]]);
        assert!((metrics.score - 4.0 / 6.0).abs() < 1e-12);
        assert!((metrics.figures["micro_f1"] - 4.0 / 6.0).abs() < 1e-12);
    }

    /// The error is 1 and the deviation 5 in every row, so R2 = 1 - 1 / 25. The constant column is ignored.
    #[test]
    fn r2_equals_the_value_computed_by_hand() {
        let task =
            plan(TaskKind::Regression, &["a", "b"], GroundTruth::Numbers(array![[0.0, 7.0], [10.0, 7.0]]));
        let metrics = score(&task, &inputs(2, None), &array![[1.0, 0.0], [9.0, 0.0]]);
        assert!((metrics.score - 0.96).abs() < 1e-12);
        assert_eq!(metrics.figures["mean_absolute_error"], 4.0);
    }

    /// The second item of row 0 has rank 1. The item of row 1 is below one item of row 0 and tied with the
    /// other, so its rank is 2 or 3 with equal probability.
    #[test]
    fn the_recall_of_a_row_is_that_of_its_best_item() {
        let items = array![[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]];
        let targets = RetrievalTargets::new(items, vec![2, 1]);
        let found = recalls(&array![[2.0, 1.0], [1.0, 0.5]], &targets).unwrap();
        assert_eq!(found, [[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]);
    }
}
