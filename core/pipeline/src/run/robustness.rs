//! Retrieval with corrupted and with missing test items: the content of `robustness.json`.
//!
//! *Corruption*: a share of the test items of each modality that the recipe corrupts is replaced by its
//! corrupted version, among queries and gallery alike. Recall is the mean over all directions, so that at a
//! share of zero it is that of `metrics.json`.
//!
//! *Missing*: every modality is taken away from a share of the test rows that have it, each modality from
//! other rows. The query for a modality is the joint query (see `joint.rs`) of those of the row's other
//! modalities that are left; the gallery is complete. A query of which nothing is left scores as a random
//! order. If all rows are complete, recall at a share of zero is that of the joint queries in `metrics.json`,
//! or with two modalities and one item per row that of the single ones.
//!
//! A larger share affects the items of a smaller one and others, and all systems the same items. The loss is
//! `1 - recall / recall at a share of zero`. Intervals are bootstrapped over rows; that of a loss resamples
//! the same rows for both.

use super::{
    evaluate::score_task,
    files,
    joint::row_means,
    model::{AlignedItems, LearnedModel},
    relevance::{Relevance, RetrievalDirection},
};
use crate::{
    base::{environment::Environment, error::Error},
    embed::{EmbeddedItems, rows_with},
    plan::{ModalityEncoders, data::RecipeData},
};
use chiasm_geometry::{
    random::Random,
    retrieval::{QueryOutcome, bootstrap_of_rows},
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Number of bootstrap resamples, and the confidence level.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;

/// The content of `robustness.json`. Recalls, shares and losses are fractions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Robustness {
    /// How the items of each modality were corrupted: kind, strength, seed.
    pub corruption: BTreeMap<String, serde_json::Value>,
    /// The curves: the recipe's aligner first, then the baselines.
    pub curves: Vec<RobustnessCurve>,
}

/// Reads the sweeps that a fit has written; `None` if its recipe has no `[robustness]`.
///
/// # Errors
/// If the file cannot be read.
pub fn stored_robustness(run: &Path) -> Result<Option<Robustness>, Error> {
    let there = run.join(files::ROBUSTNESS).is_file();
    there.then(|| files::read_json(run, files::ROBUSTNESS)).transpose()
}

/// What a sweep does to test items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sweep {
    /// A share of the items is corrupted.
    Corruption,
    /// A share of the rows lacks a modality.
    Missing,
}

/// One sweep of one system.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RobustnessCurve {
    /// The name of the system.
    pub system: String,
    /// The sweep.
    pub sweep: Sweep,
    /// The scores at each share, the first of which is zero.
    pub points: Vec<RobustnessPoint>,
}

/// The scores at one share.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RobustnessPoint {
    /// The share of the items that are corrupted, or of the rows that lack a modality.
    pub share: f64,
    /// Mean recall@1.
    #[serde(rename = "recall@1")]
    pub recall_at_1: RobustnessScore,
    /// Mean recall@10.
    #[serde(rename = "recall@10")]
    pub recall_at_10: RobustnessScore,
    /// The score of the fusion on its task, if it has one; see [`super::task_score::TaskMetrics::metric`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<f64>,
}

/// A recall and its relative loss.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RobustnessScore {
    /// The recall.
    pub value: f64,
    /// Its 95 % confidence interval.
    pub interval: [f64; 2],
    /// The loss relative to a share of zero.
    pub loss: f64,
    /// Its 95 % confidence interval.
    pub loss_interval: [f64; 2],
}

/// The test items of a sweep.
pub struct SweepItems<'a> {
    /// The modalities.
    pub modalities: &'a [ModalityEncoders],
    /// The data.
    pub data: &'a RecipeData,
    /// The items of each modality.
    pub clean: &'a [EmbeddedItems],
    /// The same items, corrupted, of the modalities that are corrupted.
    pub corrupted: &'a [Option<EmbeddedItems>],
    /// Which items are relevant for each other.
    pub relevance: &'a Relevance,
    /// The seed of the run.
    pub seed: u64,
}

/// The recalls of one query.
struct QueryRecall {
    row: usize,
    /// One over the number of queries of its direction.
    weight: f64,
    at_1: f64,
    at_10: f64,
}

impl SweepItems<'_> {
    /// Measures a model at a share of zero and at each of `shares`.
    ///
    /// # Errors
    /// If the engine fails, or no test row has two modalities.
    pub fn curve(
        &self,
        sweep: Sweep,
        model: &LearnedModel,
        shares: &[f64],
        env: &Environment,
    ) -> Result<Vec<RobustnessPoint>, Error> {
        let mut points: Vec<RobustnessPoint> = Vec::new();
        let complete = model.align_all(self.clean, env)?;
        let mut first = None;
        let rows = rows_with(self.clean, 1);
        for share in std::iter::once(0.0).chain(shares.iter().copied().filter(|share| *share > 0.0)) {
            let items = match sweep {
                _ if share == 0.0 => self.clean.to_vec(),
                Sweep::Corruption => self.with_corrupted(share)?,
                Sweep::Missing => self.with_missing(share),
            };
            let aligned = if share == 0.0 { complete.clone() } else { model.align_all(&items, env)? };
            let found = match sweep {
                Sweep::Corruption => self.all_directions(&aligned)?,
                Sweep::Missing => self.recalls_from_all_others(&aligned, &complete)?,
            };
            let asked = (rows.as_slice(), self.seed);
            let task = score_task(model, self.modalities, self.data, &items, asked, env)?;
            let first =
                first.get_or_insert_with(|| found.iter().map(|q| [q.at_1, q.at_10]).collect::<Vec<_>>());
            let score = |at: usize| self.score(&found, first, at);
            let task = task.map(|task| task.score);
            points.push(RobustnessPoint { share, recall_at_1: score(0)?, recall_at_10: score(1)?, task });
        }
        Ok(points)
    }

    /// Returns the items, of which this share is corrupted.
    fn with_corrupted(&self, share: f64) -> Result<Vec<EmbeddedItems>, Error> {
        let all = self.clean.iter().zip(self.corrupted).enumerate();
        let of = |(at, (clean, corrupted)): (usize, (&EmbeddedItems, &Option<EmbeddedItems>))| {
            let Some(corrupted) = corrupted else { return Ok(clean.clone()) };
            let order = self.order(at, clean.rows.len());
            let count = count_of(share, order.len());
            let chosen: Vec<bool> = order.iter().map(|place| *place < count).collect();
            clean.replaced(corrupted, &chosen)
        };
        all.map(of).collect()
    }

    /// Returns the items, with each modality taken away from this share of its rows.
    fn with_missing(&self, share: f64) -> Vec<EmbeddedItems> {
        let of = |(at, clean): (usize, &EmbeddedItems)| {
            let rows: Vec<usize> = clean.rows.chunk_by(|a, b| a == b).map(|chunk| chunk[0]).collect();
            let order = self.order(self.clean.len() + at, rows.len());
            let count = count_of(share, rows.len());
            let left = rows.iter().zip(order).filter(|(_, place)| *place >= count);
            clean.select(&left.map(|(row, _)| *row).collect::<Vec<_>>())
        };
        self.clean.iter().enumerate().map(of).collect()
    }

    /// Returns the place of each of `count` things in a random order. Each `stream` has an order of its own.
    fn order(&self, stream: usize, count: usize) -> Vec<usize> {
        Random::new(self.seed.wrapping_add(stream as u64)).permutation(count)
    }

    /// Returns the recalls of every direction.
    fn all_directions(&self, aligned: &[AlignedItems]) -> Result<Vec<QueryRecall>, Error> {
        let mut all = Vec::new();
        for (_, direction) in RetrievalDirection::all(aligned, self.relevance) {
            all.extend(recalls(&direction)?);
        }
        Ok(all)
    }

    /// Returns the recalls of every modality, asked for with the other modalities of a row that are left.
    fn recalls_from_all_others(
        &self,
        left: &[AlignedItems],
        complete: &[AlignedItems],
    ) -> Result<Vec<QueryRecall>, Error> {
        let mut all = Vec::new();
        for (at, gallery) in complete.iter().enumerate() {
            let others = |own: &usize| *own != at;
            let asking: BTreeSet<usize> = (0..complete.len())
                .filter(others)
                .flat_map(|other| complete[other].rows.iter().copied())
                .collect();
            let rows: Vec<usize> = asking.into_iter().collect();
            let width = gallery.embeds.ncols();
            let sum = |sum, at: usize| sum + row_means(&left[at], &rows).embeds;
            let embeds = (0..left.len()).filter(others).fold(Array2::zeros((rows.len(), width)), sum);
            let (z, items) = (Array2::zeros((rows.len(), 0)), (0..rows.len()).collect());
            let queries = AlignedItems { name: String::new(), z, embeds, rows, items };
            if let Some((_, direction)) = RetrievalDirection::new(&queries, gallery, self.relevance) {
                all.extend(recalls(&direction)?);
            }
        }
        Ok(all)
    }

    /// Returns the score of recall@1 (`at` 0) or recall@10 (`at` 1). `first` are the recalls at a share of
    /// zero of the same queries.
    fn score(&self, found: &[QueryRecall], first: &[[f64; 2]], at: usize) -> Result<RobustnessScore, Error> {
        let rows: Vec<usize> = found.iter().map(|query| query.row).collect();
        let case = |(query, first): (&QueryRecall, &[f64; 2])| {
            let own = [query.at_1, query.at_10][at];
            [query.weight * own, query.weight * first[at], query.weight]
        };
        let cases: Vec<[f64; 3]> = found.iter().zip(first).map(case).collect();
        let recall = |[own, _, weight]: &[f64; 3]| own / weight;
        let loss = |[own, first, _]: &[f64; 3]| if *first > 0.0 { 1.0 - own / first } else { 0.0 };
        let total = cases.iter().fold([0.0; 3], |sum, case| [0, 1, 2].map(|at| sum[at] + case[at]));
        let interval = |statistic: &dyn Fn(&[f64; 3]) -> f64| {
            bootstrap_of_rows(&rows, &cases, statistic, DRAWS, LEVEL, self.seed)
                .map(|(low, high)| [low, high])
                .map_err(|error| Error::Internal(format!("measuring robustness: {error}")))
        };
        Ok(RobustnessScore {
            value: recall(&total),
            interval: interval(&recall)?,
            loss: loss(&total),
            loss_interval: interval(&loss)?,
        })
    }
}

fn recalls(direction: &RetrievalDirection<'_>) -> Result<Vec<QueryRecall>, Error> {
    let found = direction.outcomes()?;
    let weight = 1.0 / found.outcomes.len().max(1) as f64;
    let of = |(query, outcome): (&usize, &QueryOutcome)| QueryRecall {
        row: direction.first.rows[*query],
        weight,
        at_1: outcome.first.recall(1),
        at_10: outcome.first.recall(10),
    };
    Ok(found.queries.iter().zip(&found.outcomes).map(of).collect())
}

/// Returns the number of things that a share of `count` is.
fn count_of(share: f64, count: usize) -> usize {
    (share * count as f64).round() as usize
}
