//! Means and confidence intervals over the folds of a cross-validation.

use crate::run::{evaluate::RetrievalSummary, task_score::TaskMetrics};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The scores of a fusion over the folds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskCrossValidation {
    /// The score of each fold.
    pub fold_scores: Vec<f64>,
    /// The mean of these scores.
    pub score: f64,
    /// Its 95 % confidence interval, from Student's t distribution over the folds, within the bounds of the
    /// metric.
    pub interval: [f64; 2],
    /// The mean scores with one modality hidden.
    pub without: BTreeMap<String, f64>,
    /// The mean scores of the baselines.
    pub baselines: BTreeMap<String, f64>,
    /// The paired difference of the score to each of these.
    pub gains: BTreeMap<String, MeanWithInterval>,
}

/// A mean over the folds with its confidence interval.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeanWithInterval {
    /// The mean.
    pub mean: f64,
    /// Its 95 % confidence interval, from Student's t distribution over the folds, within the bounds of the
    /// quantity.
    pub interval: [f64; 2],
}

impl MeanWithInterval {
    /// Returns the mean and interval of one number per fold, each of which is within the bounds. An interval
    /// of t is symmetric and may exceed them, and is cut there: no value beyond can be the true one.
    fn of(folds: &[f64], [least, most]: [f64; 2]) -> Self {
        let count = folds.len() as f64;
        let mean = folds.iter().sum::<f64>() / count;
        let variance = folds.iter().map(|fold| (fold - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let half = T.get(folds.len().saturating_sub(2)).unwrap_or(&1.96) * (variance / count).sqrt();
        Self { mean, interval: [(mean - half).max(least), (mean + half).min(most)] }
    }
}

/// Retrieval over the folds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CrossValidation {
    /// The sum of recalls of each fold, in percent.
    pub fold_rsum: Vec<f64>,
    /// The mean of these sums.
    pub rsum: f64,
    /// Their standard deviation (with denominator n).
    pub rsum_sd: f64,
    /// The mean recall@1 of each direction.
    #[serde(rename = "recall@1")]
    pub recall_at_1: BTreeMap<String, f64>,
}

/// The 0.975 quantiles of Student's t distribution for 1, 2, ... degrees of freedom. For more, the normal
/// quantile is used.
const T: [f64; 19] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093,
];

/// Returns the least and the most value of the metric of a task.
fn bounds(metric: &str) -> [f64; 2] {
    match metric {
        "rsum" => [0.0, 300.0],
        "r2" => [f64::NEG_INFINITY, 1.0],
        _ => [0.0, 1.0],
    }
}

/// Summarises the scores of a fusion over the folds; `None` without folds.
pub(super) fn task_over_folds(folds: &[&TaskMetrics]) -> Option<TaskCrossValidation> {
    let first = folds.first()?;
    let scores: Vec<f64> = folds.iter().map(|fold| fold.score).collect();
    let bounds = bounds(&first.metric);
    let each = |of: fn(&TaskMetrics) -> &BTreeMap<String, f64>| -> Vec<(String, Vec<f64>)> {
        let values =
            |key: &String| folds.iter().map(|fold| of(fold).get(key).copied().unwrap_or(f64::NAN)).collect();
        of(first).keys().map(|key| (key.clone(), values(key))).collect()
    };
    let (without, baselines) = (each(|fold| &fold.without), each(|fold| &fold.baselines));
    let means = |all: &[(String, Vec<f64>)]| {
        all.iter().map(|(key, values)| (key.clone(), MeanWithInterval::of(values, bounds).mean)).collect()
    };
    let [least, most] = bounds;
    let difference = |values: &[f64]| {
        let differences: Vec<f64> = scores.iter().zip(values).map(|(own, other)| own - other).collect();
        MeanWithInterval::of(&differences, [least - most, most - least])
    };
    let gains = (without.iter().map(|(key, values)| (format!("without {key}"), difference(values))))
        .chain(baselines.iter().map(|(key, values)| (key.clone(), difference(values))))
        .collect();
    let MeanWithInterval { mean, interval } = MeanWithInterval::of(&scores, bounds);
    Some(TaskCrossValidation {
        score: mean,
        interval,
        without: means(&without),
        baselines: means(&baselines),
        gains,
        fold_scores: scores,
    })
}

/// Summarises retrieval over the folds; `None` without folds.
pub(super) fn retrieval_over_folds<'a>(
    folds: impl Iterator<Item = &'a RetrievalSummary>,
) -> Option<CrossValidation> {
    let folds: Vec<&RetrievalSummary> = folds.collect();
    folds.first()?;
    let count = folds.len() as f64;
    let mean = |of: &dyn Fn(&RetrievalSummary) -> f64| folds.iter().map(|f| of(f)).sum::<f64>() / count;
    let rsum = mean(&|f| f.rsum);
    let directions: BTreeSet<&String> = folds.iter().flat_map(|fold| fold.retrieval.keys()).collect();
    let recall_at_1 = directions
        .into_iter()
        .map(|direction| {
            // The mean over the folds that have this direction.
            let found: Vec<f64> =
                folds.iter().filter_map(|f| Some(f.retrieval.get(direction)?.recall_at_1)).collect();
            (direction.clone(), found.iter().sum::<f64>() / found.len() as f64)
        })
        .collect();
    let variance = mean(&|f| (f.rsum - rsum).powi(2));
    let fold_rsum = folds.iter().map(|f| f.rsum).collect();
    Some(CrossValidation { fold_rsum, rsum, rsum_sd: variance.sqrt(), recall_at_1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variance of 1 to 5 is (4 + 1 + 0 + 1 + 4) / 4 = 2.5, and t for four degrees of freedom 2.776.
    #[test]
    fn the_interval_is_from_students_t_distribution() {
        let free = [f64::NEG_INFINITY, f64::INFINITY];
        let gain = MeanWithInterval::of(&[1.0, 2.0, 3.0, 4.0, 5.0], free);
        let half = 2.776 * (2.5_f64 / 5.0).sqrt();
        assert!((gain.mean - 3.0).abs() < 1e-12);
        assert!(
            (gain.interval[0] - (3.0 - half)).abs() < 1e-12
                && (gain.interval[1] - (3.0 + half)).abs() < 1e-12
        );
    }

    /// Without the bounds the interval of these accuracies ends at 1.04, as the one of their errors begins
    /// below zero.
    #[test]
    fn the_interval_of_an_accuracy_ends_at_one() {
        let high = [1.0, 0.9, 1.0, 1.0, 1.0];
        let free = MeanWithInterval::of(&high, [f64::NEG_INFINITY, f64::INFINITY]);
        assert!((free.interval[1] - 1.0355).abs() < 1e-3, "{free:?}");
        let found = MeanWithInterval::of(&high, bounds("accuracy"));
        assert_eq!((found.interval[0], found.interval[1]), (free.interval[0], 1.0));
        let errors = high.map(|value| 1.0 - value);
        assert_eq!(MeanWithInterval::of(&errors, bounds("accuracy")).interval[0], 0.0);
        assert_eq!((bounds("rsum")[1], bounds("r2")[1]), (300.0, 1.0));
    }
}
