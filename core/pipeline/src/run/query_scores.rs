//! The metrics of retrieval for every single query, by which fits are compared.

use super::{
    model::AlignedItems,
    relevance::{Relevance, RetrievalDirection},
};
use crate::base::error::Error;
use chiasm_geometry::retrieval::QueryOutcome;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The retrieval metric that fits are compared by: the mean over all directions.
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
    /// All metrics. Each is in [0, 1], and more is better.
    pub const ALL: [Self; 6] =
        [Self::RecallAt1, Self::RecallAt5, Self::RecallAt10, Self::Mrr, Self::Map, Self::NdcgAt10];

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

    /// Returns the metric with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Returns its value for one query.
    fn of(self, query: &QueryOutcome) -> f64 {
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

/// The value of one metric for each query of each direction, after the query's row.
pub type QueryValues = BTreeMap<String, Vec<(usize, f64)>>;

/// The values of all metrics for each query of each direction, after the query's row. Queries without a
/// relevant item are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QueryScores(BTreeMap<String, Vec<(usize, [f64; 6])>>);

impl QueryScores {
    /// Computes the metrics of every query. `vectors` selects the vectors whose dot product is the score.
    ///
    /// # Errors
    /// If a vector is not finite.
    pub fn of(
        aligned: &[AlignedItems],
        vectors: fn(&AlignedItems) -> &Array2<f32>,
        relevance: &Relevance,
    ) -> Result<Self, Error> {
        let mut all = BTreeMap::new();
        for (name, direction) in RetrievalDirection::all(aligned, relevance) {
            let found = direction.retrieval(vectors, None)?.outcomes();
            let rows = found.queries.iter().map(|query| direction.first.rows[*query]);
            let values = found.outcomes.iter().map(|one| StudyMetric::ALL.map(|metric| metric.of(one)));
            all.insert(name, rows.zip(values).collect());
        }
        Ok(Self(all))
    }

    /// Returns whether no query was scored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the values of one metric.
    pub fn values(&self, metric: StudyMetric) -> QueryValues {
        let at = StudyMetric::ALL.iter().position(|own| *own == metric).unwrap_or_default();
        let of =
            |queries: &Vec<(usize, [f64; 6])>| queries.iter().map(|(row, all)| (*row, all[at])).collect();
        self.0.iter().map(|(direction, queries)| (direction.clone(), of(queries))).collect()
    }

    /// Returns the same values with other numbers for the rows.
    #[must_use]
    pub fn renumbered(&self, number: &mut dyn FnMut(usize) -> usize) -> Self {
        let mut all = self.0.clone();
        all.values_mut().flatten().for_each(|(row, _)| *row = number(*row));
        Self(all)
    }
}

/// Returns the mean of a metric over the queries of each direction.
pub fn by_direction(values: &QueryValues) -> BTreeMap<String, f64> {
    let mean = |all: &[(usize, f64)]| all.iter().map(|(_, value)| value).sum::<f64>() / all.len() as f64;
    values.iter().map(|(direction, all)| (direction.clone(), mean(all))).collect()
}

/// Returns the mean of a metric over the directions.
pub fn overall(values: &QueryValues) -> f64 {
    let all = by_direction(values);
    all.values().sum::<f64>() / all.len() as f64
}
