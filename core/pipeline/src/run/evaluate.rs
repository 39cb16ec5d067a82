//! Evaluation of retrieval, for every ordered pair of modalities: all held-out items of one ask, all held-out
//! items of the other are the gallery, and every item of the query's row is right (or every item whose row
//! has the same label).
//!
//! Five captions a picture are thereby the protocol of Flickr30k and COCO. A query whose row has no item of
//! the other modality has no right answer and is left out. Intervals are bootstraps over rows, not over
//! items.

use super::{
    cases::{Cases, targets},
    graphs::Head,
    model::{Aligned, Model},
    open::Run,
    task_score::{Question, TaskMetrics},
};
use crate::{
    base::{error::Error, workbench::Workbench},
    embed::{Embedded, rows_with},
    plan::{Modality, data::Data},
};
use chiasm_geometry::{
    hubness,
    retrieval::{PermutationNull, Retrieval, RetrievalItems, RetrievalScores},
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// Resamples of the bootstrap, and its level.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;
/// Permutations of the null of a direction that was never trained.
const PERMUTATIONS: usize = 999;
/// Neighbours of CSLS, as its authors set them.
const CSLS_TOP: usize = 10;

/// What `metrics.json` holds and `eval --format json` prints; recalls are fractions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metrics {
    /// By direction, e.g. `image->text`: the first asks, the second answers.
    pub retrieval: BTreeMap<String, Scored>,
    /// Sum of recall@1, @5 and @10 of all directions, in percent.
    pub rsum: f64,
    /// The largest that `rsum` can be: 300 for each direction.
    pub rsum_max: f64,
    /// Directions that cannot be measured: no held-out row holds both modalities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_measured: Vec<String>,
    /// Held-out rows that hold two modalities or more.
    pub rows: usize,
    /// Held-out items of each modality.
    pub items: BTreeMap<String, usize>,
    /// The same maps fitted on shuffled training pairs: must lie at chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffled_pairs: Option<Control>,
    /// How well the fusion answers its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskMetrics>,
    /// Scores that look at the whole gallery at once; never comparable with the ones above.
    pub transductive: BTreeMap<String, Control>,
}

/// One direction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scored {
    /// recall@1, @5, @10, mrr, map, map@10, ndcg@10, median rank.
    #[serde(flatten)]
    pub figures: RetrievalScores,
    /// 95 % bootstrap interval of recall@1 over the rows.
    #[serde(rename = "recall@1_interval")]
    pub interval: [f64; 2],
    /// What a random order of the gallery gives.
    pub chance: RetrievalScores,
    /// Queries that have a right answer.
    pub queries: usize,
    /// Queries that have none and were left out.
    pub left_out: usize,
    /// Items of the gallery.
    pub gallery: usize,
    /// Whether no training row held both modalities: the direction follows from the others.
    pub emergent: bool,
    /// For an emergent direction, recall@10 beside what permuted rows give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permutation: Option<PermutationNull>,
}

/// A control's or a variant's figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Control {
    /// By direction.
    pub retrieval: BTreeMap<String, RetrievalScores>,
    /// Sum of the recalls, in percent.
    pub rsum: f64,
}

/// Which items are right for each other: the group of every row.
pub struct Relevance(Vec<usize>);

impl Relevance {
    /// Items of the same row, or of rows with the same value in the column `label`.
    pub fn of(data: &Data, label: Option<&str>) -> Self {
        match label {
            None => Self((0..data.dataset.len()).collect()),
            Some(column) => Self(classes(data.dataset.values(column))),
        }
    }

    fn groups(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.0[*row]).collect()
    }
}

/// Equal values have equal numbers.
fn classes(values: &[Value]) -> Vec<usize> {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let of = |value: &Value| {
        let next = numbers.len();
        *numbers.entry(value.to_string()).or_insert(next)
    };
    values.iter().map(of).collect()
}

/// Two modalities, one asking the other.
struct Direction<'a> {
    first: &'a Aligned,
    second: &'a Aligned,
    groups: [Vec<usize>; 2],
}

impl<'a> Direction<'a> {
    /// Every ordered pair of modalities that share a group, by name.
    fn all(aligned: &'a [Aligned], relevance: &Relevance) -> Vec<(String, Self)> {
        let pairs = aligned.iter().flat_map(|first| aligned.iter().map(move |second| (first, second)));
        let of = |(first, second): (&'a Aligned, &'a Aligned)| {
            let groups = [first, second].map(|own| relevance.groups(&own.rows));
            let others: HashSet<&usize> = groups[1].iter().collect();
            let shared = groups[0].iter().any(|group| others.contains(group));
            let name = format!("{}->{}", first.name, second.name);
            (first.name != second.name && shared).then_some((name, Self { first, second, groups }))
        };
        pairs.filter_map(of).collect()
    }

    fn retrieval<'b>(
        &'b self,
        vectors: impl Fn(&'b Aligned) -> &'b Array2<f32>,
        penalty: Option<&[f64]>,
    ) -> Result<Retrieval<'b>, Error> {
        let queries = RetrievalItems { vectors: vectors(self.first).view(), groups: &self.groups[0] };
        let gallery = RetrievalItems { vectors: vectors(self.second).view(), groups: &self.groups[1] };
        Retrieval::new(queries, gallery, penalty).map_err(measure)
    }

    fn scored(&self, emergent: bool, seed: u64) -> Result<Scored, Error> {
        let retrieval = self.retrieval(|own| &own.embeds, None)?;
        let found = retrieval.outcomes();
        let rows = &self.first.rows;
        let (low, high) =
            found.interval(rows, |one| one.first.recall(1), DRAWS, LEVEL, seed).map_err(measure)?;
        // labels that two rows share have no permutation of rows that breaks them
        let by_row = self.groups[0] == *rows;
        let permutation = (emergent && by_row)
            .then(|| retrieval.permutation_null(rows, |rank| rank.recall(10), PERMUTATIONS, seed))
            .transpose()
            .map_err(measure)?;
        Ok(Scored {
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

/// The figures of every direction. `vectors` says which vectors are scored by their dot product.
///
/// # Errors
/// When a vector is not finite.
pub fn figures(
    aligned: &[Aligned],
    vectors: fn(&Aligned) -> &Array2<f32>,
    relevance: &Relevance,
) -> Result<Control, Error> {
    let mut retrieval = BTreeMap::new();
    for (name, direction) in Direction::all(aligned, relevance) {
        retrieval.insert(name, direction.retrieval(vectors, None)?.outcomes().scores());
    }
    Ok(control(retrieval))
}

/// The same with CSLS (Conneau et al. 2018), which looks at the whole gallery and all queries, on vectors
/// without a bank.
fn csls(aligned: &[Aligned], relevance: &Relevance) -> Result<Control, Error> {
    let mut retrieval = BTreeMap::new();
    for (name, direction) in Direction::all(aligned, relevance) {
        let (first, second) = (direction.first.z.view(), direction.second.z.view());
        let [_, penalty] = hubness::csls_penalties(first, second, CSLS_TOP).map_err(measure)?;
        let found = direction.retrieval(|own| &own.z, Some(&penalty))?.outcomes();
        retrieval.insert(name, found.scores());
    }
    Ok(control(retrieval))
}

fn control(retrieval: BTreeMap<String, RetrievalScores>) -> Control {
    let rsum = retrieval.values().map(recalls).sum();
    Control { retrieval, rsum }
}

/// The directions between modalities that are not among those measured.
fn not_measured(aligned: &[Aligned], measured: &HashSet<String>) -> Vec<String> {
    let pairs = aligned.iter().flat_map(|first| aligned.iter().map(move |second| (first, second)));
    let names = pairs.filter(|(first, second)| first.name != second.name);
    let names = names.map(|(first, second)| format!("{}->{}", first.name, second.name));
    names.filter(|name| !measured.contains(name)).collect()
}

/// recall@1 + recall@5 + recall@10 in percent.
fn recalls(figures: &RetrievalScores) -> f64 {
    100.0 * (figures.recall_at_1 + figures.recall_at_5 + figures.recall_at_10)
}

impl Run<'_> {
    /// Measures the run on the held-out rows of its data.
    ///
    /// # Errors
    /// When the data is not there any more, or an item cannot be read.
    pub fn measure(&self) -> Result<Metrics, Error> {
        let (data, held_out) = (self.data()?, self.held_out()?);
        let aligned = &held_out.aligned;
        let relevance = self.relevance(data);
        let mut retrieval = BTreeMap::new();
        for (name, direction) in Direction::all(aligned, &relevance) {
            let pair = [&direction.first.name, &direction.second.name];
            let emergent = self.manifest.emergent.iter();
            let emergent = emergent.into_iter().any(|[a, b]| pair.contains(&a) && pair.contains(&b));
            retrieval.insert(name, direction.scored(emergent, self.manifest.seed)?);
        }
        if retrieval.is_empty() {
            let message = "no held-out row holds two modalities, so nothing can be measured";
            return Err(Error::input("chiasm::eval::rows", message, "hold out rows with two modalities"));
        }
        let retrieval_names: HashSet<String> = retrieval.keys().cloned().collect();
        let embedded = &held_out.embedded;
        let rows = rows_with(embedded, 1);
        let asked = (rows.as_slice(), self.manifest.seed);
        let task = score_task(&self.model, &self.modalities, data, embedded, asked, self.bench)?;
        Ok(Metrics {
            rsum: retrieval.values().map(|scored| recalls(&scored.figures)).sum(),
            rsum_max: 300.0 * retrieval.len() as f64,
            retrieval,
            not_measured: not_measured(aligned, &retrieval_names),
            rows: rows_with(embedded, 2).len(),
            items: aligned.iter().map(|own| (own.name.clone(), own.rows.len())).collect(),
            shuffled_pairs: None,
            task,
            transductive: [("csls".to_owned(), csls(aligned, &relevance)?)].into(),
        })
    }

    /// The figures of other maps on the run's held-out items.
    ///
    /// # Errors
    /// As [`Run::measure`].
    pub fn measure_heads(&self, heads: &[Head]) -> Result<Control, Error> {
        let embedded = &self.held_out()?.embedded;
        let inverses = heads.iter().map(|_| None).collect();
        let model = Model { heads: heads.to_vec(), inverses, fusion: None, task: None };
        let aligned = model.align_all(embedded, self.bench)?;
        figures(&aligned, |own| &own.embeds, &self.relevance(self.data()?))
    }

    fn relevance(&self, data: &Data) -> Relevance {
        let label = self.recipe().eval.label.as_ref();
        Relevance::of(data, label.map(|column| column.value.as_str()))
    }
}

/// How well a model's fusion answers the task on some rows; `None` without a fusion or a task.
///
/// # Errors
/// When an item to be found cannot be read, or the engine refuses.
pub fn score_task(
    model: &Model,
    modalities: &[Modality],
    data: &Data,
    embedded: &[Embedded],
    (rows, seed): (&[usize], u64),
    bench: &Workbench,
) -> Result<Option<TaskMetrics>, Error> {
    let (Some(task), Some(_)) = (&data.task, &model.fusion) else { return Ok(None) };
    let found = targets(data, modalities, model, rows, bench)?;
    let cases = Cases::of(model, embedded, rows, found, bench)?;
    let question = Question { task, cases: &cases, seed };
    question.score(&|hidden| cases.outputs(model, model.answer(), hidden, bench)).map(Some)
}

fn measure(error: chiasm_geometry::Error) -> Error {
    Error::Internal(format!("measuring retrieval: {error}"))
}
