//! Evaluation of retrieval, for every ordered pair of modalities. The queries are all test items of the first
//! modality, the gallery is all test items of the second. Gallery items of the query's row are relevant, or
//! those whose row has the same label.
//!
//! With five captions per picture, this is the protocol of Flickr30k and COCO. A query without a relevant
//! item is left out. An item that several rows show, such as a picture with one row for each caption, is one
//! query and one item of the gallery, and the items of all its rows are relevant. Confidence intervals are
//! bootstrapped over rows, not over items.

use super::{
    fusion_inputs::{FusionInputs, retrieval_targets},
    geometry::PairGeometry,
    graphs::Head,
    joint::{joint_queries, row_means},
    model::{AlignedItems, LearnedModel},
    open::Run,
    query_scores::QueryScores,
    relevance::{Relevance, RetrievalDirection, measure_error},
    task_score::{RowContribution, TaskMetrics, TaskScorer},
    truth::Identifiability,
};
use crate::{
    base::{environment::Environment, error::Error},
    embed::{EmbeddedItems, batch_effect::BatchEffect, rows_with},
    plan::{ModalityEncoders, data::RecipeData},
};
use chiasm_geometry::{
    hubness,
    retrieval::{PermutationNull, RetrievalScores},
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Number of bootstrap resamples, and the confidence level.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;
/// Permutations of the test of an emergent direction.
const PERMUTATIONS: usize = 999;
/// Neighbours of CSLS, the value of its authors.
const CSLS_TOP: usize = 10;

/// The content of `metrics.json`. Recalls are fractions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Metrics of each direction, e.g. `image->text` for image queries and a gallery of texts.
    pub retrieval: BTreeMap<String, DirectionMetrics>,
    /// Metrics of queries that hold all modalities of a row but the one that is searched, e.g.
    /// `image+sound->text`; for three modalities or more. They are not part of `rsum`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub joint: BTreeMap<String, JointMetrics>,
    /// Sum of recall@1, @5 and @10 of all directions, in percent.
    pub rsum: f64,
    /// The maximum of `rsum`: 300 per direction.
    pub rsum_max: f64,
    /// Directions that cannot be measured, because no test row has both modalities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_measured: Vec<String>,
    /// Number of test rows with two or more modalities.
    pub rows: usize,
    /// Number of test items of each modality.
    pub items: BTreeMap<String, usize>,
    /// The control: the same aligner fitted on shuffled training pairs. Its recall should be at chance level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffled_pairs: Option<RetrievalSummary>,
    /// How the vectors of each encoder depend on their batch, by `modality/encoder`, as the fit measured it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub batch_effects: BTreeMap<String, BatchEffect>,
    /// Scores of the fusion on its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskMetrics>,
    /// How well the vectors determine known factors; only `chiasm eval --truth` measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifiability: Option<Identifiability>,
    /// Measures of the aligned vectors of each pair of modalities; only `chiasm eval --geometry` computes
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry: Option<PairGeometry>,
    /// Transductive scores, which use all queries and the whole gallery. Not comparable with the metrics
    /// above.
    pub transductive: BTreeMap<String, RetrievalSummary>,
}

/// The retrieval metrics of one direction.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DirectionMetrics {
    /// recall@1, @5, @10, mrr, map, map@10, ndcg@10, median rank.
    #[serde(flatten)]
    pub figures: RetrievalScores,
    /// 95 % confidence interval of recall@1, bootstrapped over the rows.
    #[serde(rename = "recall@1_interval")]
    pub interval: [f64; 2],
    /// The expected metrics of a random order of the gallery.
    pub chance: RetrievalScores,
    /// Number of queries with a relevant item.
    pub queries: usize,
    /// Number of queries without a relevant item, which are left out.
    pub left_out: usize,
    /// Number of items in the gallery.
    pub gallery: usize,
    /// Whether the direction is emergent: no training row has both modalities.
    pub emergent: bool,
    /// For an emergent direction, a permutation test of recall@10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permutation: Option<PermutationNull>,
}

/// The retrieval metrics of queries of several modalities.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JointMetrics {
    /// Metrics of the joint queries, one for each row that shows all their modalities.
    #[serde(flatten)]
    pub metrics: DirectionMetrics,
    /// The metrics of each modality alone, on the same rows; several items of a row count as their mean.
    pub alone: BTreeMap<String, RetrievalScores>,
}

/// Retrieval metrics without intervals, for controls and for variants of a recipe.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetrievalSummary {
    /// Metrics of each direction.
    pub retrieval: BTreeMap<String, RetrievalScores>,
    /// Sum of recall@1, @5 and @10 of all directions, in percent.
    pub rsum: f64,
}

impl RetrievalDirection<'_> {
    fn scored(&self, emergent: bool, seed: u64) -> Result<DirectionMetrics, Error> {
        let retrieval = self.retrieval(|own| &own.embeds, None)?;
        let found = retrieval.outcomes();
        let rows = &self.first.rows;
        let (low, high) =
            found.interval(rows, |one| one.first.recall(1), DRAWS, LEVEL, seed).map_err(measure_error)?;
        // A permutation of rows breaks the pairs only if no two rows share a group or an item.
        let [queries, gallery] = &self.groups;
        let by_row = queries.iter().zip(rows).all(|(groups, row)| *groups == [*row])
            && gallery.iter().all(|groups| groups.len() == 1);
        let permutation = (emergent && by_row)
            .then(|| retrieval.permutation_null(rows, |rank| rank.recall(10), PERMUTATIONS, seed))
            .transpose()
            .map_err(measure_error)?;
        Ok(DirectionMetrics {
            figures: found.scores(),
            interval: [low, high],
            chance: found.chance(),
            queries: found.outcomes.len(),
            left_out: found.left_out,
            gallery: found.gallery,
            emergent,
            permutation,
        })
    }
}

/// Computes the metrics of every direction. `vectors` selects the vectors whose dot product is the score.
///
/// # Errors
/// If a vector is not finite.
pub fn retrieval_summary(
    aligned: &[AlignedItems],
    vectors: fn(&AlignedItems) -> &Array2<f32>,
    relevance: &Relevance,
) -> Result<RetrievalSummary, Error> {
    let mut retrieval = BTreeMap::new();
    for (name, direction) in RetrievalDirection::all(aligned, relevance) {
        retrieval.insert(name, direction.retrieval(vectors, None)?.outcomes().scores());
    }
    Ok(with_rsum(retrieval))
}

/// Computes the metrics of every direction with CSLS (Conneau et al. 2018), which uses all queries and the
/// whole gallery. The vectors are those without a hubness bank.
fn csls(aligned: &[AlignedItems], relevance: &Relevance) -> Result<RetrievalSummary, Error> {
    let mut retrieval = BTreeMap::new();
    for (name, direction) in RetrievalDirection::all(aligned, relevance) {
        let (first, second) = (direction.first.z.view(), direction.second.z.view());
        let [_, penalty] = hubness::csls_penalties(first, second, CSLS_TOP).map_err(measure_error)?;
        let found = direction.retrieval(|own| &own.z, Some(&penalty))?.outcomes();
        retrieval.insert(name, found.scores());
    }
    Ok(with_rsum(retrieval))
}

fn with_rsum(retrieval: BTreeMap<String, RetrievalScores>) -> RetrievalSummary {
    let rsum = retrieval.values().map(recalls).sum();
    RetrievalSummary { retrieval, rsum }
}

/// Measures the joint queries for the items of every modality.
fn joint(
    aligned: &[AlignedItems],
    relevance: &Relevance,
    seed: u64,
) -> Result<BTreeMap<String, JointMetrics>, Error> {
    let mut joint = BTreeMap::new();
    for (target, gallery) in aligned.iter().enumerate() {
        let Some(queries) = joint_queries(aligned, target) else { continue };
        let Some((name, direction)) = RetrievalDirection::new(&queries, gallery, relevance) else { continue };
        let mut alone = BTreeMap::new();
        for own in aligned.iter().filter(|own| own.name != gallery.name) {
            let single = row_means(own, &queries.rows);
            if let Some((_, direction)) = RetrievalDirection::new(&single, gallery, relevance) {
                alone.insert(single.name.clone(), direction.outcomes()?.scores());
            }
        }
        joint.insert(name, JointMetrics { metrics: direction.scored(false, seed)?, alone });
    }
    Ok(joint)
}

/// Returns the directions that were not measured.
fn not_measured(aligned: &[AlignedItems], measured: &HashSet<String>) -> Vec<String> {
    let pairs = aligned.iter().flat_map(|first| aligned.iter().map(move |second| (first, second)));
    let names = pairs.filter(|(first, second)| first.name != second.name);
    let names = names.map(|(first, second)| format!("{}->{}", first.name, second.name));
    names.filter(|name| !measured.contains(name)).collect()
}

/// Returns recall@1 + recall@5 + recall@10, in percent.
fn recalls(figures: &RetrievalScores) -> f64 {
    100.0 * (figures.recall_at_1 + figures.recall_at_5 + figures.recall_at_10)
}

impl Run<'_> {
    /// Measures the run on the test rows of its data.
    ///
    /// # Errors
    /// If the data or an item cannot be read, or no test row has two modalities.
    pub fn measure(&self) -> Result<Metrics, Error> {
        let (data, held_out) = (self.data()?, self.held_out()?);
        let aligned = &held_out.aligned;
        let relevance = self.relevance(data);
        let mut retrieval = BTreeMap::new();
        for (name, direction) in RetrievalDirection::all(aligned, &relevance) {
            let pair = [&direction.first.name, &direction.second.name];
            let emergent = self.manifest.emergent.iter();
            let emergent = emergent.into_iter().any(|[a, b]| pair.contains(&a) && pair.contains(&b));
            retrieval.insert(name, direction.scored(emergent, self.manifest.seed)?);
        }
        if retrieval.is_empty() {
            let message = "no test row has two modalities, so retrieval cannot be measured";
            return Err(Error::input("chiasm::eval::rows", message, "add test rows with two modalities"));
        }
        let retrieval_names: HashSet<String> = retrieval.keys().cloned().collect();
        let embedded = &held_out.embedded;
        let rows = rows_with(embedded, 1);
        let asked = (rows.as_slice(), self.manifest.seed);
        let task = score_task(&self.model, &self.modalities, data, embedded, asked, self.env)?;
        Ok(Metrics {
            rsum: retrieval.values().map(|scored| recalls(&scored.figures)).sum(),
            rsum_max: 300.0 * retrieval.len() as f64,
            retrieval,
            joint: joint(aligned, &relevance, self.manifest.seed)?,
            not_measured: not_measured(aligned, &retrieval_names),
            rows: rows_with(embedded, 2).len(),
            items: aligned.iter().map(|own| (own.name.clone(), own.rows.len())).collect(),
            shuffled_pairs: None,
            batch_effects: BTreeMap::new(),
            task,
            identifiability: None,
            geometry: None,
            transductive: [("csls".to_owned(), csls(aligned, &relevance)?)].into(),
        })
    }

    /// Scores every query of the run on its test rows, and summarises retrieval.
    ///
    /// # Errors
    /// If the data or an item cannot be read.
    pub fn query_scores(&self) -> Result<(QueryScores, RetrievalSummary), Error> {
        let aligned = &self.held_out()?.aligned;
        let relevance = self.relevance(self.data()?);
        let summary = retrieval_summary(aligned, |own| &own.embeds, &relevance)?;
        Ok((QueryScores::of(aligned, |own| &own.embeds, &relevance)?, summary))
    }

    /// Returns what each test row contributes to the score of the fusion; `None` if it has no task.
    ///
    /// # Errors
    /// If the data or an item cannot be read.
    pub(crate) fn task_rows(&self) -> Result<Option<TaskRows>, Error> {
        let embedded = &self.held_out()?.embedded;
        let rows = rows_with(embedded, 1);
        let asked = (rows.as_slice(), self.manifest.seed);
        let task = score_task(&self.model, &self.modalities, self.data()?, embedded, asked, self.env)?;
        Ok(task.map(|task| task_rows(&task, &rows)))
    }

    /// Returns whether the scores of the run are corrected by a hubness bank.
    pub fn has_bank(&self) -> bool {
        self.recipe().score.bank.is_some()
    }

    /// Measures other maps on the test items of the run.
    ///
    /// # Errors
    /// As [`Run::measure`].
    pub fn measure_heads(&self, heads: &[Head]) -> Result<RetrievalSummary, Error> {
        let embedded = &self.held_out()?.embedded;
        let inverses = heads.iter().map(|_| None).collect();
        let model = LearnedModel { heads: heads.to_vec(), inverses, fusion: None, task: None };
        let aligned = model.align_all(embedded, self.env)?;
        retrieval_summary(&aligned, |own| &own.embeds, &self.relevance(self.data()?))
    }

    pub(super) fn relevance(&self, data: &RecipeData) -> Relevance {
        Relevance::of(data, self.recipe())
    }
}

/// What each row contributes to the score of a fusion, after the row.
pub(crate) type TaskRows = Vec<(usize, RowContribution)>;

/// Returns the contributions of the rows that a fusion was scored on.
pub(crate) fn task_rows(task: &TaskMetrics, rows: &[usize]) -> TaskRows {
    rows.iter().copied().zip(task.contributions.iter().copied()).collect()
}

/// Scores the fusion of a model on its task, on some rows. `seed` is that of the bootstrap. Returns `None` if
/// there is no fusion or no task.
///
/// # Errors
/// If a target item cannot be read, or the engine fails.
pub fn score_task(
    model: &LearnedModel,
    modalities: &[ModalityEncoders],
    data: &RecipeData,
    embedded: &[EmbeddedItems],
    (rows, seed): (&[usize], u64),
    env: &Environment,
) -> Result<Option<TaskMetrics>, Error> {
    let (Some(task), Some(_)) = (&data.task, &model.fusion) else { return Ok(None) };
    let found = retrieval_targets(data, modalities, model, rows, env)?;
    let inputs = FusionInputs::of(model, embedded, rows, found, env)?;
    let question = TaskScorer { task, inputs: &inputs, seed };
    question.score(&|hidden| inputs.outputs(model, model.prediction_output(), hidden, env)).map(Some)
}
