//! How well a fusion answers its task on held-out rows, beside what each modality alone and a guess would give.

use crate::{
    Error,
    fuse::Found,
    task::{TaskPlan, Truth},
};
use chiasm_geometry::retrieval::{Figures, Rank, bootstrap, recall};
use chiasm_host::TaskKind;
use ndarray::{Array2, ArrayView1, Axis};
use serde::Serialize;
use std::collections::BTreeMap;

/// Resamples of the bootstrap, and its level.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;

/// What `metrics.json` holds under `task`.
#[derive(Debug, Clone, Serialize)]
pub struct TaskMetrics {
    /// The kind of task.
    pub kind: TaskKind,
    /// What the numbers are: `accuracy`, `micro_f1` (labels whose logit is above 0), `r2` (the mean over columns), or `rsum`: recall@1, @5 and @10 in
    /// percent, summed, at most 300.
    pub metric: &'static str,
    /// On the held-out rows, all modalities seen.
    pub score: f64,
    /// Its 95 % bootstrap interval over the rows.
    pub interval: [f64; 2],
    /// With this modality hidden.
    pub without: BTreeMap<String, f64>,
    /// What needs no fusion: the commonest class, every label; for retrieval the aligned vector of each modality, and their sum.
    pub baselines: BTreeMap<String, f64>,
    /// recall@1, @5 and @10, for retrieval.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<&'static str, f64>,
    /// Held-out rows.
    pub rows: usize,
}

/// Rows to be answered, beside what is right for them.
pub(crate) struct Question<'a> {
    /// The task.
    pub task: &'a TaskPlan,
    /// The rows of the pairs.
    pub rows: &'a [usize],
    /// The modalities.
    pub names: &'a [String; 2],
    /// Their aligned vectors.
    pub pooled: &'a [Array2<f32>; 2],
    /// For retrieval what is to be found.
    pub others: Option<&'a Found>,
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
        let cases = self.cases(&answers(None)?);
        let interval = bootstrap(&cases, statistic, DRAWS, LEVEL, self.seed)
            .map_err(|e| Error::Internal(format!("scoring the task: {e}")))?;
        let mut without = BTreeMap::new();
        for (side, name) in self.names.iter().enumerate() {
            without.insert(name.clone(), statistic(&self.cases(&answers(Some(side))?)));
        }
        let mut figures = BTreeMap::new();
        if kind == TaskKind::Retrieval {
            let found = Figures::of_ranks(&places(&cases));
            figures.extend([("recall@1", found.recall_at_1), ("recall@5", found.recall_at_5)]);
            figures.extend([("recall@10", found.recall_at_10), ("mrr", found.mrr)]);
        }
        Ok(TaskMetrics {
            kind,
            metric,
            score: statistic(&cases),
            interval: [interval.0, interval.1],
            without,
            baselines: self.baselines(statistic),
            figures,
            rows: self.rows.len(),
        })
    }

    fn baselines(&self, statistic: Statistic) -> BTreeMap<String, f64> {
        let columns = self.task.task.labels.len();
        let constant = |column: Option<usize>| {
            Array2::from_shape_fn((self.rows.len(), columns), |(_, c)| {
                if column.is_none_or(|own| own == c) { 1.0 } else { 0.0 }
            })
        };
        let mut all: Vec<(String, Array2<f32>)> = Vec::new();
        match &self.task.truth {
            Truth::Class(classes) => {
                let count =
                    |class: usize| self.rows.iter().filter(|row| classes[**row] == Some(class)).count();
                all.push((
                    "commonest_class".to_owned(),
                    constant((0..columns).max_by_key(|class| count(*class))),
                ));
            }
            Truth::Labels(_) => all.push(("every_label".to_owned(), constant(None))),
            Truth::Numbers(_) => {}
            Truth::Items { .. } => {
                all.extend(self.names.iter().cloned().zip(self.pooled.iter().cloned()));
                if self.pooled[0].dim() == self.pooled[1].dim() {
                    all.push(("sum".to_owned(), &self.pooled[0] + &self.pooled[1]));
                }
            }
        }
        all.into_iter().map(|(name, answers)| (name, statistic(&self.cases(&answers)))).collect()
    }

    /// What each row adds to the statistic.
    fn cases(&self, answers: &Array2<f32>) -> Vec<Case> {
        match &self.task.truth {
            Truth::Class(classes) => {
                let right = |(row, answer): (&usize, ArrayView1<'_, f32>)| {
                    let said = (0..answer.len()).max_by(|a, b| answer[*a].total_cmp(&answer[*b]));
                    [f64::from(u8::from(said.is_some() && said == classes[*row])), 0.0, 0.0]
                };
                self.rows.iter().zip(answers.outer_iter()).map(right).collect()
            }
            Truth::Labels(labels) => {
                let counts = |(row, answer): (&usize, ArrayView1<'_, f32>)| {
                    let hold = |column: &usize| labels[*row].contains(column);
                    let said: Vec<usize> = (0..answer.len()).filter(|column| answer[*column] > 0.0).collect();
                    let right = said.iter().filter(|column| hold(column)).count();
                    [right, said.len() - right, labels[*row].len() - right].map(|count| count as f64)
                };
                self.rows.iter().zip(answers.outer_iter()).map(counts).collect()
            }
            Truth::Numbers(numbers) => self.errors(&numbers.select(Axis(0), self.rows), answers),
            Truth::Items { .. } => self.others.map(|found| ranks(answers, found)).unwrap_or_default(),
        }
    }

    /// Squared errors, and squared distances from the mean: each column in units of its own deviation.
    fn errors(&self, right: &Array2<f32>, answers: &Array2<f32>) -> Vec<Case> {
        let mut cases = vec![[0.0; 3]; right.nrows()];
        for (right, said) in right.columns().into_iter().zip(answers.columns()) {
            let count = right.len().max(1) as f64;
            let mean = right.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
            let spread = right.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
            if spread == 0.0 {
                continue; // a column that never changes says nothing
            }
            for ((case, right), said) in cases.iter_mut().zip(right).zip(said) {
                case[0] += f64::from(right - said).powi(2) / spread;
                case[1] += (f64::from(*right) - mean).powi(2) / spread;
            }
        }
        cases
    }
}

type Case = [f64; 3];
type Statistic = fn(&[Case]) -> f64;

/// The name of a kind's metric, and how it comes from cases.
fn statistic(kind: TaskKind) -> (&'static str, Statistic) {
    match kind {
        TaskKind::Classification => ("accuracy", |cases| sum(cases, 0) / cases.len().max(1) as f64),
        TaskKind::MultiLabel => ("micro_f1", |cases| {
            let right = 2.0 * sum(cases, 0);
            right / (right + sum(cases, 1) + sum(cases, 2)).max(1.0)
        }),
        TaskKind::Regression => ("r2", |cases| 1.0 - sum(cases, 0) / sum(cases, 1)),
        TaskKind::Retrieval => ("rsum", |cases| {
            let ranks = places(cases);
            [1, 5, 10].iter().map(|k| 100.0 * recall(&ranks, *k)).sum()
        }),
    }
}

fn sum(cases: &[Case], at: usize) -> f64 {
    cases.iter().map(|case| case[at]).sum()
}

/// The place of the best of a row's own items: better items of other rows, others with its score, and own ones with it.
fn ranks(answers: &Array2<f32>, found: &Found) -> Vec<Case> {
    let mut start = 0;
    (answers.outer_iter().zip(&found.counts))
        .map(|(answer, &count)| {
            let own = start..start + count;
            start += count;
            let scores = found.items.dot(&answer);
            let best = own.clone().map(|item| scores[item]).fold(f32::NEG_INFINITY, f32::max);
            let count = |of: &dyn Fn(usize, f32) -> bool| {
                scores.iter().enumerate().filter(|(item, score)| of(*item, **score)).count() as f64
            };
            [
                count(&|item, score| !own.contains(&item) && score > best),
                count(&|item, score| !own.contains(&item) && score == best),
                count(&|item, score| own.contains(&item) && score == best),
            ]
        })
        .collect()
}

/// The cases of a retrieval as places.
fn places(cases: &[Case]) -> Vec<Rank> {
    let place = |case: &Case| {
        let [better, ties, right] = case.map(|count| count as usize);
        Rank { better, ties, right }
    };
    cases.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_host::Task;
    use ndarray::{Array2, array};

    fn question<'a>(
        task: &'a TaskPlan,
        rows: &'a [usize],
        parts: &'a ([String; 2], [Array2<f32>; 2]),
    ) -> Question<'a> {
        Question { task, rows, names: &parts.0, pooled: &parts.1, others: None, seed: 1 }
    }

    fn parts() -> ([String; 2], [Array2<f32>; 2]) {
        (["image".into(), "text".into()], [Array2::zeros((0, 2)), Array2::zeros((0, 2))])
    }

    fn plan(kind: TaskKind, labels: &[&str], truth: Truth) -> TaskPlan {
        TaskPlan { task: Task { kind, labels: labels.iter().map(|l| (*l).to_owned()).collect() }, truth }
    }

    #[test]
    fn accuracy_counts_an_unknown_answer_as_wrong() {
        let task =
            plan(TaskKind::Classification, &["a", "b"], Truth::Class(vec![Some(0), None, Some(1), Some(1)]));
        let (rows, parts) = ([0, 1, 2, 3], parts());
        let said = array![[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [3.0, 1.0]];
        let metrics = question(&task, &rows, &parts).score(&|_| Ok(said.clone())).unwrap();
        assert_eq!((metrics.metric, metrics.score), ("accuracy", 0.5));
        assert_eq!(metrics.baselines["commonest_class"], 0.5);
        assert!(metrics.interval[0] <= 0.5 && metrics.interval[1] >= 0.5, "{:?}", metrics.interval);
    }

    /// tp = 2, fp = 1, fn = 1: 2 tp / (2 tp + fp + fn) = 4 / 6.
    #[test]
    fn micro_f1_by_hand() {
        let task = plan(TaskKind::MultiLabel, &["a", "b"], Truth::Labels(vec![vec![0], vec![0, 1]]));
        let (rows, parts) = ([0, 1], parts());
        let said = array![[1.0, 1.0], [1.0, -1.0]];
        assert!(
            (question(&task, &rows, &parts).score(&|_| Ok(said.clone())).unwrap().score - 4.0 / 6.0).abs()
                < 1e-12
        );
    }

    /// Errors 1 in every row, deviations 5: 1 - 1 / 25. The constant column counts for nothing.
    #[test]
    fn r2_by_hand() {
        let task = plan(TaskKind::Regression, &["a", "b"], Truth::Numbers(array![[0.0, 7.0], [10.0, 7.0]]));
        let (rows, parts) = ([0, 1], parts());
        let said = array![[1.0, 0.0], [9.0, 0.0]];
        assert!(
            (question(&task, &rows, &parts).score(&|_| Ok(said.clone())).unwrap().score - 0.96).abs() < 1e-12
        );
    }

    /// Row 0 finds its second item first; row 1 is passed by one of row 0's and level with the other.
    #[test]
    fn retrieval_takes_the_best_of_a_rows_own_items() {
        let items = array![[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]];
        let found = Found::new(items, vec![2, 1]);
        let ranks = ranks(&array![[2.0, 1.0], [1.0, 0.5]], &found);
        assert_eq!(ranks, [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]);
    }
}
