//! Differences of the scores of fusions on their task, tested by the paired bootstrap of
//! [`super::significance`].
//!
//! A score is a function of sums over rows: right answers, or errors and deviations. A resample draws rows
//! with all that they contribute, for both fusions the same ones. The deviations of R2 stay those from the
//! mean of all test rows.

use super::significance::{PairedDifference, resampled, tested};
use crate::run::{
    evaluate::TaskRows,
    task_score::{RowContribution, score_of_sums},
};
use chiasm_host::TaskKind;

/// What each test row contributes to the score of a fusion, for each seed.
#[derive(Debug, Clone)]
pub struct TaskSums {
    kind: TaskKind,
    rows: Vec<usize>,
    /// By seed and row.
    seeds: Vec<Vec<RowContribution>>,
}

impl TaskSums {
    /// Collects the contributions. `None` if there are none, or if the rows of the seeds differ.
    pub fn of(kind: TaskKind, seeds: &[TaskRows]) -> Option<Self> {
        let rows_of = |own: &TaskRows| own.iter().map(|(row, _)| *row).collect::<Vec<_>>();
        let sorted = |own: &TaskRows| {
            let mut own = own.clone();
            own.sort_by_key(|(row, _)| *row);
            own
        };
        let seeds: Vec<TaskRows> = seeds.iter().map(sorted).collect();
        let rows = rows_of(seeds.first().filter(|first| !first.is_empty())?);
        if seeds.iter().any(|own| rows_of(own) != rows) {
            return None;
        }
        let contributions = |own: &TaskRows| own.iter().map(|(_, contribution)| *contribution).collect();
        Some(Self { kind, rows, seeds: seeds.iter().map(contributions).collect() })
    }

    /// Returns the score, averaged over the seeds.
    pub fn value(&self) -> f64 {
        let rows: Vec<usize> = (0..self.rows.len()).collect();
        self.score(&rows, &vec![1.0 / self.seeds.len() as f64; self.seeds.len()])
    }

    /// Returns the difference to another fusion on the same rows. A fusion with one seed is compared with
    /// every seed of the other. `None` if the tasks, the rows or the numbers of seeds differ.
    pub fn difference(&self, other: &Self, seed: u64) -> Option<PairedDifference> {
        let seeds = self.seeds.len().max(other.seeds.len());
        let alike = |own: &Self| [1, seeds].contains(&own.seeds.len());
        if self.kind != other.kind || self.rows != other.rows || !alike(self) || !alike(other) {
            return None;
        }
        let difference =
            |rows: &[usize], weights: &[f64]| self.score(rows, weights) - other.score(rows, weights);
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let mean = difference(&all, &vec![1.0 / seeds as f64; seeds]);
        let drawn = resampled([self.rows.len(), seeds], seed, &difference);
        Some(tested(mean, drawn, self.rows.len()))
    }

    /// Returns the score on some rows, with a weight for each seed. A single seed has the sum of all weights.
    fn score(&self, rows: &[usize], weights: &[f64]) -> f64 {
        let of_seed = |own: &Vec<RowContribution>| {
            let sums = rows.iter().fold([0.0; 3], |mut sums, row| {
                sums.iter_mut().zip(own[*row]).for_each(|(sum, one)| *sum += one);
                sums
            });
            score_of_sums(self.kind, sums, rows.len())
        };
        match self.seeds.as_slice() {
            [only] => of_seed(only),
            several => {
                let drawn = several.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
                drawn.map(|(own, weight)| weight * of_seed(own)).sum()
            }
        }
    }
}

#[cfg(test)]
mod tests;
