//! Metrics of the test queries by the value of a column of the data, and the queries with the worst ranks.

use super::{
    open::Run,
    relevance::{RetrievalDirection, measure_error},
};
use crate::{
    base::error::Error,
    catalog::dataset::{Dataset, DatasetColumns},
};
use chiasm_geometry::retrieval::{QueryOutcome, RetrievalScores, bootstrap_of_mean};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Number of bootstrap resamples, and the confidence level, as in `metrics.json`.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;

/// The metrics of the queries whose row has one value in a column. The gallery is that of all test items.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct GroupMetrics {
    /// Metrics of these queries.
    #[serde(flatten)]
    pub figures: RetrievalScores,
    /// 95 % confidence interval of recall@1, bootstrapped over the rows.
    #[serde(rename = "recall@1_interval")]
    pub interval: [f64; 2],
    /// Number of queries.
    pub queries: usize,
}

/// The metrics of each direction by the value of a column: direction, value, metrics.
pub type Breakdown = BTreeMap<String, BTreeMap<String, GroupMetrics>>;

/// A query whose relevant items have a high rank.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct WorstQuery {
    /// The direction, e.g. `image->text`.
    pub direction: String,
    /// The expected rank of the first relevant item, counted from 1.
    pub rank: f64,
    /// The id of the query's row.
    pub row: String,
    /// The query: its file, its text or its row of the file of vectors.
    pub query: String,
    /// The relevant item with the highest score.
    pub partner: String,
    /// The item that was found first in its place.
    pub found: String,
    /// The id of that item's row.
    pub found_row: String,
}

impl Run<'_> {
    /// Measures the test queries of each direction by the value of a column of the data. A picture that
    /// several rows show counts for the first of them.
    ///
    /// # Errors
    /// If the run has no data file, the column is missing or has an empty cell, or an item cannot be read.
    pub fn measure_by(&self, column: &str) -> Result<Breakdown, Error> {
        let labels = self.labels(column)?;
        let aligned = &self.held_out()?.aligned;
        let relevance = self.relevance(self.data()?);
        let mut all = Breakdown::new();
        for (name, direction) in RetrievalDirection::all(aligned, &relevance) {
            let found = direction.outcomes()?;
            let mut groups: BTreeMap<String, (Vec<usize>, Vec<QueryOutcome>)> = BTreeMap::new();
            for (query, outcome) in found.queries.iter().zip(found.outcomes) {
                let row = direction.first.rows[*query];
                let group = groups.entry(labels.get(row).cloned().unwrap_or_default()).or_default();
                group.0.push(row);
                group.1.push(outcome);
            }
            let measured = |(label, (rows, outcomes)): (String, (Vec<usize>, Vec<QueryOutcome>))| {
                let hits: Vec<f64> = outcomes.iter().map(|one| one.first.recall(1)).collect();
                let interval = bootstrap_of_mean(&rows, &hits, DRAWS, LEVEL, self.manifest.seed);
                let (low, high) = interval.map_err(measure_error)?;
                let (figures, queries) = (RetrievalScores::of(&outcomes), outcomes.len());
                Ok((label, GroupMetrics { figures, interval: [low, high], queries }))
            };
            all.insert(name, groups.into_iter().map(measured).collect::<Result<_, Error>>()?);
        }
        Ok(all)
    }

    /// Returns the value of a column in every row, as text.
    fn labels(&self, column: &str) -> Result<Vec<String>, Error> {
        let recipe = self.recipe();
        let Some(file) = &recipe.data.pairs else {
            let message =
                format!("--by {column}: the run has no data file, its vectors are paired by position");
            let help = "fit with a `data.pairs` file that has this column";
            return Err(Error::input("chiasm::eval::by", message, help));
        };
        let split = recipe.data.split.as_ref().map(|split| split.value.as_str());
        let columns = DatasetColumns { inputs: &recipe.inputs(), values: &[column], split };
        let dataset = Dataset::read(&recipe.path(&file.value), columns)?;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(dataset.values(column).iter().map(text).collect())
    }

    /// Returns the `count` queries of each direction whose first relevant item has the highest rank, worst
    /// first. Queries that find a relevant item first are left out.
    ///
    /// # Errors
    /// If the data or an item cannot be read.
    pub fn worst_queries(&self, count: usize) -> Result<Vec<WorstQuery>, Error> {
        let items = self.test_items()?;
        let mut all = Vec::new();
        for examples in self.retrieval_examples(count, 1, usize::MAX)? {
            let of = |modality: &String| items.iter().find(|own| own.modality == *modality);
            let [Some(first), Some(second)] = [0, 1].map(|end| of(&examples.direction[end])) else {
                continue;
            };
            all.extend(examples.wrong.iter().map(|one| {
                let found = one.found.first().unwrap_or(&one.relevant);
                WorstQuery {
                    direction: examples.direction.join("->"),
                    rank: one.rank,
                    row: first.ids[one.query].clone(),
                    query: first.raw[one.query].describe(),
                    partner: second.raw[one.relevant.item].describe(),
                    found: second.raw[found.item].describe(),
                    found_row: second.ids[found.item].clone(),
                }
            }));
        }
        Ok(all)
    }
}
