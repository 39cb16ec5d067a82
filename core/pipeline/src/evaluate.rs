//! Task metrics of a run: retrieval between the two modalities on held-out pairs, with its interval and controls.

use crate::{Error, score::TaskMetrics};
use chiasm_geometry::{
    hubness,
    retrieval::{Figures, Ranks, bootstrap, recall},
};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resamples of the bootstrap, and its level.
const DRAWS: usize = 1000;
const LEVEL: f64 = 0.95;
/// Neighbours of CSLS, as its authors set them.
const CSLS_TOP: usize = 10;

/// What `metrics.json` holds and `eval --format json` prints; recalls are fractions.
#[derive(Debug, Clone, Serialize)]
pub struct Metrics {
    /// By direction, e.g. `image->text`: the first asks, the second answers.
    pub retrieval: BTreeMap<String, Scored>,
    /// Sum of recall@1, @5 and @10 of both directions, in percent (at most 600).
    pub rsum: f64,
    /// Held-out pairs it was measured on.
    pub pairs: usize,
    /// What guessing gives.
    pub chance: BTreeMap<&'static str, f64>,
    /// The same maps fitted on shuffled training pairs: must lie at chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shuffled_pairs: Option<Control>,
    /// How well the fusion answers its task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskMetrics>,
    /// Scores that look at the whole gallery at once; never comparable with the ones above.
    pub transductive: BTreeMap<&'static str, Control>,
}

/// One direction with the bootstrap interval of its recall@1.
#[derive(Debug, Clone, Serialize)]
pub struct Scored {
    /// recall@1, @5, @10, mrr, median rank.
    #[serde(flatten)]
    pub figures: Figures,
    /// 95 % bootstrap interval of recall@1 over the queries.
    #[serde(rename = "recall@1_interval")]
    pub interval: [f64; 2],
}

/// A control's or a variant's figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Control {
    /// By direction.
    pub retrieval: BTreeMap<String, Figures>,
    /// Sum of the recalls, in percent.
    pub rsum: f64,
}

/// The embeddings of paired rows in the shared space: row i of one belongs to row i of the other.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The two modalities' names.
    pub names: [String; 2],
    /// Their embeddings `[n, k]`.
    pub sides: [Array2<f32>; 2],
}

impl Embedded {
    fn views(&self) -> [ArrayView2<'_, f32>; 2] {
        [self.sides[0].view(), self.sides[1].view()]
    }

    /// Ranks by dot product.
    ///
    /// # Errors
    /// When the sides differ in shape or hold NaN.
    pub fn ranks(&self) -> Result<Ranks, Error> {
        let [first, second] = self.views();
        Ranks::of_embeddings(first, second).map_err(measure)
    }

    fn directions(&self) -> [String; 2] {
        let [first, second] = &self.names;
        [format!("{first}->{second}"), format!("{second}->{first}")]
    }

    /// The figures alone, by dot product.
    ///
    /// # Errors
    /// As [`Embedded::ranks`].
    pub fn control(&self) -> Result<Control, Error> {
        Ok(self.figures(&self.ranks()?))
    }

    fn figures(&self, ranks: &Ranks) -> Control {
        let both = [Figures::of_ranks(&ranks.forward), Figures::of_ranks(&ranks.backward)];
        Control { retrieval: self.directions().into_iter().zip(both).collect(), rsum: ranks.rsum() }
    }
}

/// Everything but the shuffled-pairs control, which needs a fit of its own.
///
/// `plain` is the embeddings before any hubness bank, for CSLS, which is a correction of its own.
///
/// # Errors
/// When the sides differ in shape or hold NaN.
pub fn metrics(test: &Embedded, plain: &Embedded, seed: u64) -> Result<Metrics, Error> {
    let ranks = test.ranks()?;
    let mut retrieval = BTreeMap::new();
    for (name, ranks) in test.directions().into_iter().zip([&ranks.forward, &ranks.backward]) {
        let interval = bootstrap(ranks, |r| recall(r, 1), DRAWS, LEVEL, seed).map_err(measure)?;
        retrieval
            .insert(name, Scored { figures: Figures::of_ranks(ranks), interval: [interval.0, interval.1] });
    }
    let pairs = ranks.forward.len();
    let chance = |k: usize| k.min(pairs) as f64 / pairs as f64;
    let [first, second] = plain.views();
    let [one, two] = hubness::csls(first, second, CSLS_TOP).map_err(measure)?;
    let csls = Ranks::of_penalised(first, second, &one, &two).map_err(measure)?;
    Ok(Metrics {
        retrieval,
        rsum: ranks.rsum(),
        pairs,
        chance: [("recall@1", chance(1)), ("recall@5", chance(5)), ("recall@10", chance(10))].into(),
        shuffled_pairs: None,
        task: None,
        transductive: [("csls", plain.figures(&csls))].into(),
    })
}

fn measure(error: chiasm_geometry::Error) -> Error {
    Error::Internal(format!("measuring retrieval: {error}"))
}
