//! Figures of several folds as means with intervals.

use crate::run::{evaluate::RetrievalSummary, task_score::TaskMetrics};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Means of a fusion's scores over the folds.
#[derive(Debug, Clone, Serialize)]
pub struct TaskCrossValidation {
    /// The score of each fold.
    pub fold_scores: Vec<f64>,
    /// Their mean.
    pub score: f64,
    /// Its 95 % interval, from Student's t over the folds.
    pub interval: [f64; 2],
    /// Mean scores with a modality hidden.
    pub without: BTreeMap<String, f64>,
    /// Mean scores of what needs no fusion.
    pub baselines: BTreeMap<String, f64>,
    /// By how much the fusion is ahead of each of these, fold by fold.
    pub gains: BTreeMap<String, MeanWithInterval>,
}

/// A mean difference over the folds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MeanWithInterval {
    /// The mean.
    pub mean: f64,
    /// Its 95 % interval, from Student's t over the folds: the pairing takes out what makes folds differ.
    pub interval: [f64; 2],
}

impl MeanWithInterval {
    /// Of one number a fold.
    fn of(folds: &[f64]) -> Self {
        let count = folds.len() as f64;
        let mean = folds.iter().sum::<f64>() / count;
        let variance = folds.iter().map(|fold| (fold - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let half = T.get(folds.len().saturating_sub(2)).unwrap_or(&1.96) * (variance / count).sqrt();
        Self { mean, interval: [mean - half, mean + half] }
    }
}

/// Means over the folds.
#[derive(Debug, Clone, Serialize)]
pub struct CrossValidation {
    /// Sum of recalls of each fold, in percent.
    pub fold_rsum: Vec<f64>,
    /// Their mean.
    pub rsum: f64,
    /// Their standard deviation (over n).
    pub rsum_sd: f64,
    /// Mean recall@1 by direction.
    #[serde(rename = "recall@1")]
    pub recall_at_1: BTreeMap<String, f64>,
}

/// Quantiles 0.975 of Student's t for 1, 2, ... degrees of freedom; beyond them the normal's is near enough.
const T: [f64; 19] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093,
];

/// The scores of a fusion over the folds; `None` without folds.
pub(super) fn task_folds(folds: &[&TaskMetrics]) -> Option<TaskCrossValidation> {
    let first = folds.first()?;
    let scores: Vec<f64> = folds.iter().map(|fold| fold.score).collect();
    let each = |of: fn(&TaskMetrics) -> &BTreeMap<String, f64>| -> Vec<(String, Vec<f64>)> {
        let values =
            |key: &String| folds.iter().map(|fold| of(fold).get(key).copied().unwrap_or(f64::NAN)).collect();
        of(first).keys().map(|key| (key.clone(), values(key))).collect()
    };
    let (without, baselines) = (each(|fold| &fold.without), each(|fold| &fold.baselines));
    let means = |all: &[(String, Vec<f64>)]| {
        all.iter().map(|(key, values)| (key.clone(), MeanWithInterval::of(values).mean)).collect()
    };
    let ahead = |values: &[f64]| {
        MeanWithInterval::of(&scores.iter().zip(values).map(|(own, other)| own - other).collect::<Vec<_>>())
    };
    let gains = (without.iter().map(|(key, values)| (format!("without {key}"), ahead(values))))
        .chain(baselines.iter().map(|(key, values)| (key.clone(), ahead(values))))
        .collect();
    let MeanWithInterval { mean, interval } = MeanWithInterval::of(&scores);
    Some(TaskCrossValidation {
        score: mean,
        interval,
        without: means(&without),
        baselines: means(&baselines),
        gains,
        fold_scores: scores,
    })
}

/// The figures of the folds; `None` without folds.
pub(super) fn summary<'a>(folds: impl Iterator<Item = &'a RetrievalSummary>) -> Option<CrossValidation> {
    let folds: Vec<&RetrievalSummary> = folds.collect();
    folds.first()?;
    let count = folds.len() as f64;
    let mean = |of: &dyn Fn(&RetrievalSummary) -> f64| folds.iter().map(|f| of(f)).sum::<f64>() / count;
    let rsum = mean(&|f| f.rsum);
    let directions: BTreeSet<&String> = folds.iter().flat_map(|fold| fold.retrieval.keys()).collect();
    let recall_at_1 = directions
        .into_iter()
        .map(|direction| {
            // over the folds that have the direction
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
    fn a_gain_has_students_interval() {
        let gain = MeanWithInterval::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let half = 2.776 * (2.5_f64 / 5.0).sqrt();
        assert!((gain.mean - 3.0).abs() < 1e-12);
        assert!(
            (gain.interval[0] - (3.0 - half)).abs() < 1e-12
                && (gain.interval[1] - (3.0 + half)).abs() < 1e-12
        );
    }
}
