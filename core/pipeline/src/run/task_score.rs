//! How well a fusion answers its task on held-out rows, beside what each modality alone and a guess would
//! give.

use super::cases::{Cases, Targets};
use crate::{
    base::error::Error,
    plan::task::{TaskPlan, Truth},
};
use chiasm_geometry::{
    retrieval::{Retrieval, RetrievalItems, bootstrap},
    scores,
};
use chiasm_host::TaskKind;
use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resamples of the bootstrap, and its level.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;

/// What `metrics.json` holds under `task`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskMetrics {
    /// The kind of task.
    pub kind: TaskKind,
    /// What the numbers are: `accuracy`, `micro_f1` (labels whose logit is above 0), `r2` (the mean over
    /// columns), or `rsum`: recall@1, @5 and @10 in percent, summed, at most 300.
    pub metric: String,
    /// On the held-out rows, all modalities seen.
    pub score: f64,
    /// Its 95 % bootstrap interval over the rows.
    pub interval: [f64; 2],
    /// With this modality hidden.
    pub without: BTreeMap<String, f64>,
    /// What needs no fusion: the commonest class, every label; for retrieval the aligned vector of each
    /// modality, and their sum.
    pub baselines: BTreeMap<String, f64>,
    /// Further figures: macro and micro F1 and ROC AUC of classes and labels, the mean absolute error of
    /// numbers, recall@1, @5, @10 and mrr of retrieval.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// Rows it was measured on.
    pub rows: usize,
}

/// Rows to be answered, beside what is right for them.
pub(super) struct Question<'a> {
    /// The task.
    pub task: &'a TaskPlan,
    /// The rows, their aligned vectors and, for retrieval, what is to be found.
    pub cases: &'a Cases,
    /// Seed of the bootstrap.
    pub seed: u64,
}

impl Question<'_> {
    /// Scores the answers; `answers` is asked with no modality hidden, then with each.
    ///
    /// # Errors
    /// Those of `answers`.
    pub fn score(
        &self,
        answers: &dyn Fn(Option<usize>) -> Result<Array2<f32>, Error>,
    ) -> Result<TaskMetrics, Error> {
        let kind = self.task.task.kind;
        let (metric, statistic) = statistic(kind);
        let given = answers(None)?;
        let rows = self.points(&given)?;
        let interval = bootstrap(&rows, statistic, DRAWS, LEVEL, self.seed).map_err(scoring)?;
        let mut without = BTreeMap::new();
        for (at, name) in self.cases.names.iter().enumerate() {
            without.insert(name.clone(), statistic(&self.points(&answers(Some(at))?)?));
        }
        Ok(TaskMetrics {
            kind,
            metric: metric.to_owned(),
            score: statistic(&rows),
            interval: [interval.0, interval.1],
            without,
            baselines: self.baselines(statistic)?,
            figures: self.figures(&given)?,
            rows: self.cases.rows.len(),
        })
    }

    fn baselines(&self, statistic: Statistic) -> Result<BTreeMap<String, f64>, Error> {
        let columns = self.task.task.labels.len();
        let rows = &self.cases.rows;
        let constant = |column: Option<usize>| {
            Array2::from_shape_fn((rows.len(), columns), |(_, c)| {
                if column.is_none_or(|own| own == c) { 1.0 } else { 0.0 }
            })
        };
        let mut all: Vec<(String, Array2<f32>)> = Vec::new();
        match &self.task.truth {
            Truth::Class(classes) => {
                let count = |class: usize| rows.iter().filter(|row| classes[**row] == Some(class)).count();
                let commonest = (0..columns).max_by_key(|class| count(*class));
                all.push(("commonest_class".to_owned(), constant(commonest)));
            }
            Truth::Labels(_) => all.push(("every_label".to_owned(), constant(None))),
            Truth::Numbers(_) => {}
            Truth::Others { .. } => {
                let pooled = &self.cases.pooled;
                all.extend(self.cases.names.iter().cloned().zip(pooled.iter().cloned()));
                let sum = |sum: Array2<f32>, next: &Array2<f32>| sum + next;
                if let Some((first, rest)) = pooled.split_first() {
                    all.push(("sum".to_owned(), rest.iter().fold(first.clone(), sum)));
                }
            }
        }
        all.into_iter().map(|(name, answers)| Ok((name, statistic(&self.points(&answers)?)))).collect()
    }

    /// What each row adds to the statistic.
    fn points(&self, answers: &Array2<f32>) -> Result<Vec<Point>, Error> {
        let rows = self.cases.rows.iter().zip(answers.outer_iter());
        Ok(match &self.task.truth {
            Truth::Class(classes) => {
                let right = |(row, answer): (&usize, ArrayView1<'_, f32>)| {
                    let found = largest(answer);
                    [f64::from(u8::from(found.is_some() && found == classes[*row])), 0.0, 0.0]
                };
                rows.map(right).collect()
            }
            Truth::Labels(labels) => {
                let counts = |(row, answer): (&usize, ArrayView1<'_, f32>)| {
                    let hold = |column: &usize| labels[*row].contains(column);
                    let given: Vec<usize> =
                        (0..answer.len()).filter(|column| answer[*column] > 0.0).collect();
                    let right = given.iter().filter(|column| hold(column)).count();
                    [right, given.len() - right, labels[*row].len() - right].map(|count| count as f64)
                };
                rows.map(counts).collect()
            }
            Truth::Numbers(numbers) => errors(&numbers.select(Axis(0), &self.cases.rows), answers),
            Truth::Others { .. } => match &self.cases.targets {
                Some(targets) => recalls(answers, targets)?,
                None => Vec::new(),
            },
        })
    }

    /// Figures beside the score.
    fn figures(&self, answers: &Array2<f32>) -> Result<BTreeMap<String, f64>, Error> {
        let mut figures = BTreeMap::new();
        let mut add = |name: &str, value: Option<f64>| {
            figures.extend(value.filter(|v| v.is_finite()).map(|value| (name.to_owned(), value)));
        };
        let rows = &self.cases.rows;
        match &self.task.truth {
            Truth::Class(classes) => {
                let unknown = self.task.task.labels.len();
                let truth: Vec<usize> = rows.iter().map(|row| classes[*row].unwrap_or(unknown)).collect();
                let found: Vec<usize> =
                    answers.outer_iter().map(|answer| largest(answer).unwrap_or_default()).collect();
                let counts = scores::ConfusionCounts::per_class(&truth, &found).map_err(scoring)?;
                add("macro_f1", Some(scores::macro_f1(&counts)));
                add("micro_f1", Some(scores::micro_f1(&counts)));
                let known: Vec<usize> = (0..truth.len()).filter(|at| truth[*at] < unknown).collect();
                let truth: Vec<usize> = known.iter().map(|at| truth[*at]).collect();
                let shares = softmax(answers.select(Axis(0), &known));
                if !truth.is_empty() {
                    add("roc_auc", scores::roc_auc_one_vs_rest(&truth, shares.view()).map_err(scoring)?);
                }
            }
            Truth::Labels(labels) => {
                let truth = Array2::from_shape_fn(answers.dim(), |(r, c)| labels[rows[r]].contains(&c));
                let found = answers.mapv(|logit| logit > 0.0);
                let counts =
                    scores::ConfusionCounts::per_label(truth.view(), found.view()).map_err(scoring)?;
                add("macro_f1", Some(scores::macro_f1(&counts)));
                add("micro_f1", Some(scores::micro_f1(&counts)));
                add("roc_auc", scores::macro_roc_auc(truth.view(), answers.view()).map_err(scoring)?);
            }
            Truth::Numbers(numbers) => {
                let truth = numbers.select(Axis(0), rows);
                let error = scores::mean_absolute_error(truth.view(), answers.view());
                add("mean_absolute_error", Some(error.map_err(scoring)?));
            }
            Truth::Others { .. } => {
                if let Some(targets) = &self.cases.targets {
                    let found = retrieve(answers, targets)?;
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

/// What one row adds to a statistic.
type Point = [f64; 3];
type Statistic = fn(&[Point]) -> f64;

/// The name of a kind's metric, and how it comes from the rows.
fn statistic(kind: TaskKind) -> (&'static str, Statistic) {
    match kind {
        TaskKind::Classification => ("accuracy", |rows| sum(rows, 0) / rows.len().max(1) as f64),
        TaskKind::MultiLabel => ("micro_f1", |rows| {
            let right = 2.0 * sum(rows, 0);
            right / (right + sum(rows, 1) + sum(rows, 2)).max(1.0)
        }),
        TaskKind::Regression => ("r2", |rows| 1.0 - sum(rows, 0) / sum(rows, 1)),
        TaskKind::Retrieval => ("rsum", |rows| {
            let all: f64 = (0..3).map(|at| sum(rows, at)).sum();
            100.0 * all / rows.len().max(1) as f64
        }),
    }
}

fn sum(rows: &[Point], at: usize) -> f64 {
    rows.iter().map(|row| row[at]).sum()
}

/// The column with the largest value.
fn largest(answer: ArrayView1<'_, f32>) -> Option<usize> {
    (0..answer.len()).max_by(|a, b| answer[*a].total_cmp(&answer[*b]))
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

/// Squared errors, and squared distances from the mean: each column in units of its own deviation.
fn errors(right: &Array2<f32>, answers: &Array2<f32>) -> Vec<Point> {
    let mut points = vec![[0.0; 3]; right.nrows()];
    for (right, given) in right.columns().into_iter().zip(answers.columns()) {
        let count = right.len().max(1) as f64;
        let mean = right.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let spread = right.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
        if spread == 0.0 {
            continue; // how well a column that never changes is predicted cannot be told
        }
        for ((point, right), given) in points.iter_mut().zip(right).zip(given) {
            point[0] += f64::from(right - given).powi(2) / spread;
            point[1] += (f64::from(*right) - mean).powi(2) / spread;
        }
    }
    points
}

/// Each row's fused vector asks for its own items among those of all rows.
fn search<T>(
    answers: &Array2<f32>,
    targets: &Targets,
    read: impl FnOnce(&Retrieval<'_>) -> T,
) -> Result<T, Error> {
    let own: Vec<usize> = (0..answers.nrows()).collect();
    let of = |(row, count): (usize, &usize)| std::iter::repeat_n(row, *count);
    let groups: Vec<usize> = targets.counts.iter().enumerate().flat_map(of).collect();
    let queries = RetrievalItems { vectors: answers.view(), groups: &own };
    let gallery = RetrievalItems { vectors: targets.items.view(), groups: &groups };
    Ok(read(&Retrieval::new(queries, gallery, None).map_err(scoring)?))
}

fn recalls(answers: &Array2<f32>, targets: &Targets) -> Result<Vec<Point>, Error> {
    let found = search(answers, targets, |retrieval| retrieval.outcomes())?;
    Ok(found.outcomes.iter().map(|outcome| [1, 5, 10].map(|k| outcome.first.recall(k))).collect())
}

fn retrieve(
    answers: &Array2<f32>,
    targets: &Targets,
) -> Result<chiasm_geometry::retrieval::RetrievalScores, Error> {
    search(answers, targets, |retrieval| retrieval.outcomes().scores())
}

fn scoring(error: chiasm_geometry::Error) -> Error {
    Error::Internal(format!("scoring the task: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_host::Task;
    use ndarray::array;

    fn cases(rows: usize, targets: Option<Targets>) -> Cases {
        Cases {
            rows: (0..rows).collect(),
            names: vec!["image".into(), "text".into()],
            pooled: vec![Array2::zeros((rows, 2)), Array2::zeros((rows, 2))],
            tokens: vec![None, None],
            targets,
        }
    }

    fn plan(kind: TaskKind, labels: &[&str], truth: Truth) -> TaskPlan {
        TaskPlan { task: Task { kind, labels: labels.iter().map(|l| (*l).to_owned()).collect() }, truth }
    }

    fn score(task: &TaskPlan, cases: &Cases, given: &Array2<f32>) -> TaskMetrics {
        Question { task, cases, seed: 1 }.score(&|_| Ok(given.clone())).unwrap()
    }

    #[test]
    fn accuracy_counts_an_unknown_answer_as_wrong() {
        let task =
            plan(TaskKind::Classification, &["a", "b"], Truth::Class(vec![Some(0), None, Some(1), Some(1)]));
        let given = array![[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [3.0, 1.0]];
        let metrics = score(&task, &cases(4, None), &given);
        assert_eq!((metrics.metric.as_str(), metrics.score), ("accuracy", 0.5));
        assert_eq!(metrics.baselines["commonest_class"], 0.5);
        assert!(metrics.interval[0] <= 0.5 && metrics.interval[1] >= 0.5, "{:?}", metrics.interval);
        // class a: 1 right, 1 wrong, 0 missed: 2/3; class b: 1 right, 1 wrong, 1 missed: 1/2; unknown: 0
        assert!((metrics.figures["macro_f1"] - (2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12);
    }

    /// tp = 2, fp = 1, fn = 1: 2 tp / (2 tp + fp + fn) = 4 / 6.
    #[test]
    fn micro_f1_by_hand() {
        let task = plan(TaskKind::MultiLabel, &["a", "b"], Truth::Labels(vec![vec![0], vec![0, 1]]));
        let metrics = score(&task, &cases(2, None), &array![[1.0, 1.0], [1.0, -1.0]]);
        assert!((metrics.score - 4.0 / 6.0).abs() < 1e-12);
        assert!((metrics.figures["micro_f1"] - 4.0 / 6.0).abs() < 1e-12);
    }

    /// Errors 1 in every row, deviations 5: 1 - 1 / 25. The constant column counts for nothing.
    #[test]
    fn r2_by_hand() {
        let task = plan(TaskKind::Regression, &["a", "b"], Truth::Numbers(array![[0.0, 7.0], [10.0, 7.0]]));
        let metrics = score(&task, &cases(2, None), &array![[1.0, 0.0], [9.0, 0.0]]);
        assert!((metrics.score - 0.96).abs() < 1e-12);
        assert_eq!(metrics.figures["mean_absolute_error"], 4.0);
    }

    /// Row 0 finds its second item first; the item of row 1 stands behind one of row 0's and level with the
    /// other, so that it is second or third with equal odds.
    #[test]
    fn retrieval_takes_the_best_of_a_rows_own_items() {
        let items = array![[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]];
        let targets = Targets::new(items, vec![2, 1]);
        let found = recalls(&array![[2.0, 1.0], [1.0, 0.5]], &targets).unwrap();
        assert_eq!(found, [[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]);
    }
}
