//! The metric of a study, and the paired comparison of two fits.

use crate::{base::error::Error, run::evaluate::QueryValues};
use chiasm_geometry::retrieval::{QueryOutcome, bootstrap_of_mean};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of bootstrap resamples, and the confidence level, as in `metrics.json`.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;

/// The retrieval metric that a study compares fits by: the mean over all directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StudyMetric {
    /// Mean average precision; the mean reciprocal rank where each query has one relevant item.
    #[serde(rename = "map")]
    Map,
    /// Mean reciprocal rank of the first relevant item.
    #[serde(rename = "mrr")]
    Mrr,
    /// Recall at 1.
    #[serde(rename = "recall@1")]
    RecallAt1,
    /// Recall at 5.
    #[serde(rename = "recall@5")]
    RecallAt5,
    /// Recall at 10.
    #[serde(rename = "recall@10")]
    RecallAt10,
    /// Normalised discounted cumulative gain of the first ten.
    #[serde(rename = "ndcg@10")]
    NdcgAt10,
}

impl StudyMetric {
    /// Returns its name, as in `metrics.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Mrr => "mrr",
            Self::RecallAt1 => "recall@1",
            Self::RecallAt5 => "recall@5",
            Self::RecallAt10 => "recall@10",
            Self::NdcgAt10 => "ndcg@10",
        }
    }

    /// Returns its value for one query.
    pub(super) fn of(self, query: &QueryOutcome) -> f64 {
        match self {
            Self::Map => query.average_precision,
            Self::Mrr => query.first.reciprocal(),
            Self::RecallAt1 => query.first.recall(1),
            Self::RecallAt5 => query.first.recall(5),
            Self::RecallAt10 => query.first.recall(10),
            Self::NdcgAt10 => query.ndcg_at_10,
        }
    }
}

/// The difference of two fits on the same queries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PairedDifference {
    /// The difference of the metric.
    pub mean: f64,
    /// Its 95 % confidence interval, by a bootstrap over the rows of the queries.
    pub interval: [f64; 2],
}

/// Returns the mean of a metric over the queries of each direction.
pub(super) fn by_direction(values: &QueryValues) -> BTreeMap<String, f64> {
    let mean = |all: &[(usize, f64)]| all.iter().map(|(_, value)| value).sum::<f64>() / all.len() as f64;
    values.iter().map(|(direction, all)| (direction.clone(), mean(all))).collect()
}

/// Returns the mean of a metric over the directions.
pub(super) fn overall(values: &QueryValues) -> f64 {
    let all = by_direction(values);
    all.values().sum::<f64>() / all.len() as f64
}

/// Returns the difference of the metric between two fits, `own - other`, with the interval of a paired
/// bootstrap: every resample draws the same rows for both fits. The number of queries of each direction is
/// that of all rows. Returns `None` if the queries differ.
///
/// # Errors
/// [`Error::Internal`] if there are no queries.
pub(super) fn paired_difference(
    own: &QueryValues,
    other: &QueryValues,
    seed: u64,
) -> Result<Option<PairedDifference>, Error> {
    let queries = |values: &QueryValues| -> Vec<(String, Vec<usize>)> {
        let rows = |all: &[(usize, f64)]| all.iter().map(|(row, _)| *row).collect();
        values.iter().map(|(direction, all)| (direction.clone(), rows(all))).collect()
    };
    if queries(own) != queries(other) {
        return Ok(None);
    }
    // What each row contributes to the difference.
    let mut by_row: BTreeMap<usize, f64> = BTreeMap::new();
    for (first, second) in own.values().zip(other.values()) {
        let weight = (own.len() * first.len()) as f64;
        for ((row, first), (_, second)) in first.iter().zip(second) {
            *by_row.entry(*row).or_default() += (first - second) / weight;
        }
    }
    let count = by_row.len() as f64;
    let (rows, values): (Vec<usize>, Vec<f64>) = by_row.into_iter().map(|(row, d)| (row, d * count)).unzip();
    let (low, high) = bootstrap_of_mean(&rows, &values, DRAWS, LEVEL, seed)
        .map_err(|e| Error::Internal(format!("the interval of a difference: {e}")))?;
    Ok(Some(PairedDifference { mean: values.iter().sum::<f64>() / count, interval: [low, high] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(of: impl Fn(usize) -> f64) -> QueryValues {
        [("a->b", 100), ("b->a", 200)]
            .into_iter()
            .map(|(name, count)| (name.to_owned(), (0..count).map(|i| (i % 100, of(i))).collect()))
            .collect()
    }

    /// Two fits that differ by a constant differ by it in every resample, although their scores vary widely.
    #[test]
    fn a_constant_difference_has_an_interval_of_zero_width() {
        let (own, other) = (values(|i| (i % 7) as f64 + 0.25), values(|i| (i % 7) as f64));
        let found = paired_difference(&own, &other, 1).unwrap().unwrap();
        assert!([found.mean, found.interval[0], found.interval[1]].iter().all(|d| (d - 0.25).abs() < 1e-12));
        assert!((overall(&own) - overall(&other) - 0.25).abs() < 1e-12);
    }

    /// Each row has differences of one sign, so the standard error is that of 100 rows: 1 / sqrt(100) = 0.1.
    /// Percentiles of 1000 draws are within a tenth of normal theory.
    #[test]
    fn the_interval_is_that_of_the_rows() {
        let (own, other) = (values(|i| if i % 2 == 0 { 1.0 } else { -1.0 }), values(|_| 0.0));
        let found = paired_difference(&own, &other, 1).unwrap().unwrap();
        assert!(found.mean.abs() < 1e-12);
        assert!((found.interval[1] - 0.196).abs() < 0.02 && (found.interval[0] + 0.196).abs() < 0.02);
    }

    #[test]
    fn fits_with_other_queries_are_not_compared() {
        let mut other = values(|_| 0.0);
        other.get_mut("a->b").unwrap().pop();
        assert_eq!(paired_difference(&values(|_| 1.0), &other, 1).unwrap(), None);
    }
}
