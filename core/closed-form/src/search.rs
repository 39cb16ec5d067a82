//! Chooses the parameters that are not given, inside the training rows.
//!
//! There are five seeded folds over rows, with all items of a row on one side. If validation rows are given,
//! there is one fold, which tests those. A candidate is scored by the mean of recall@1 to recall@20 in both
//! directions on the rows left out, with one item per row and modality, averaged over all pairs of
//! modalities, or over those with the anchor. This varies less with the sample than recall at a few ranks.
//! First the curve of each modality is chosen, one modality after the other, with few candidates; then the
//! whole grid of candidates is scored with those curves. With more than two modalities, the best candidate
//! is then varied in one modality at a time.
//!
//! ```
//! use chiasm_closed_form::procrustes::Procrustes;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).cos());
//! let report = Procrustes::params().fit(&Dataset::new(x, y))?.report;
//! assert!(report.is_some_and(|report| report.folds == 5 && report.rows == 30));
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chiasm_geometry::linalg::product;
use chiasm_geometry::retrieval::Ranks;
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use serde::Serialize;

use crate::features::FeatureSpec;
use crate::folds::{Folds, Match, RowFold};
use crate::prepared::{FoldView, fold_view};
use crate::sample::AXES;
use crate::{Curve, Error, FitContext, Result, Views};

/// The largest rank of the criterion.
const DEPTH: usize = 20;

/// How the parameters were chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchReport {
    /// The criterion in words.
    pub criterion: String,
    /// Its value for the best candidate.
    pub score: f64,
    /// Its expected value for random scores.
    pub chance: f64,
    /// Candidates scored.
    pub candidates: usize,
    /// Rows that the search used.
    pub rows: usize,
    /// Inner folds; 1 where validation rows were given.
    pub folds: usize,
}

/// Called between units of work; an error stops the search.
pub(crate) type Tick<'a> = &'a (dyn Fn() -> Result<()> + Sync);

/// A method whose parameters can be searched.
pub(crate) trait SearchMethod: Sync {
    /// The parameters that are chosen together.
    type Candidate: Clone + Send + Sync;

    /// Returns the candidates for modalities of these ranks; only a few if `quick`.
    fn candidates(&self, ranks: &[usize], quick: bool) -> Vec<Self::Candidate>;

    /// Returns more candidates near the best of [`SearchMethod::candidates`].
    fn refinements(&self, _ranks: &[usize], _best: &Self::Candidate) -> Vec<Self::Candidate> {
        Vec::new()
    }

    /// Returns the criterion of each candidate on the test rows of one fold. Calls `tick` between candidates;
    /// its error stops the search.
    fn scores(&self, fold: &Fold<'_>, candidates: &[Self::Candidate], tick: Tick<'_>) -> Result<Vec<f64>>;
}

/// One fold, with each modality in the basis of its training items.
pub(crate) struct Fold<'a> {
    /// By modality.
    pub(crate) views: Vec<&'a FoldView>,
    matches: &'a [Match],
    pub(crate) anchor: Option<usize>,
}

impl Fold<'_> {
    /// Returns the mean recall@1 to recall@20 in both directions, averaged over the pairs of modalities.
    /// `images` are the mapped test items of each modality, unit rows.
    pub(crate) fn criterion(&self, images: &[Array2<f64>]) -> Result<f64> {
        let mut sum = 0.0;
        for found in self.matches {
            let (a, b) = found.modalities;
            let first = images[a].select(Axis(0), &found.places.0);
            let second = images[b].select(Axis(0), &found.places.1);
            let scores = product(&first, &second.t())?;
            sum += Ranks::of_scores(scores.mapv(|s| s as f32).view())?.early_recall(DEPTH);
        }
        Ok(sum / self.matches.len().max(1) as f64)
    }
}

/// The chosen curves, and all candidates in descending order of their scores.
pub(crate) struct SearchResult<S> {
    pub(crate) curves: Vec<Curve>,
    pub(crate) ranked: Vec<S>,
    /// `None` when there was nothing to choose or there were too few rows to choose by.
    pub(crate) report: Option<SearchReport>,
}

/// Returns the curves to try for each modality: the given one, else both.
pub(crate) fn curves(given: &[Option<Curve>]) -> Vec<Vec<Curve>> {
    let both = || vec![Curve::Unit, Curve::SignedRoot];
    given.iter().map(|given| given.map_or_else(both, |curve| vec![curve])).collect()
}

/// Chooses curves and ranks candidates. Scores nothing if there is a single candidate.
pub(crate) fn search<M: SearchMethod>(
    method: &M,
    views: &Views<'_>,
    specs: &[FeatureSpec<'_>],
    curves: &[Vec<Curve>],
    context: FitContext<'_>,
) -> Result<SearchResult<M::Candidate>> {
    let free = curves.iter().any(|list| list.len() > 1)
        || method.candidates(&vec![AXES; views.count()], false).len() > 1;
    let folds = if free { Folds::of(views, context.seed)? } else { None };
    let Some(folds) = folds else {
        let ranks: Vec<usize> = views.training().iter().map(|items| items.len() - 1).collect();
        let ranked = method.candidates(&ranks, true);
        return Ok(SearchResult {
            curves: curves.iter().map(|list| list[0]).collect(),
            ranked,
            report: None,
        });
    };
    let lists: Vec<usize> = curves.iter().map(Vec::len).collect();
    let steps = folds.splits.len() * (lists.iter().sum::<usize>() + tables(&lists));
    let progress = Progress::new(context, steps as u64);
    let prepared = prepare(views, specs, curves, &folds.splits, &progress)?;
    let evaluator = Evaluator { method, prepared, folds: &folds, lists, anchor: views.anchor(), progress };
    let best = evaluator.best_curves()?;
    let (settings, scores) = evaluator.ranked(&best)?;
    let report = SearchReport {
        criterion: criterion_in_words(views, &folds),
        score: scores[0],
        chance: folds.mean_over_matches(chance),
        candidates: settings.len() + evaluator.lists.iter().map(|list| list - 1).sum::<usize>(),
        rows: folds.rows,
        folds: folds.splits.len(),
    };
    let curves = curves.iter().zip(&best).map(|(list, &at)| list[at]).collect();
    Ok(SearchResult { curves, ranked: settings, report: Some(report) })
}

fn criterion_in_words(views: &Views<'_>, folds: &Folds) -> String {
    let pairs = match (views.count(), views.anchor()) {
        (2, _) => String::new(),
        (_, None) => ", all pairs of modalities".to_owned(),
        (_, Some(anchor)) => format!(", pairs with {}", views.all()[anchor].name),
    };
    let rows = if folds.validation { "validation rows" } else { "rows left out" };
    format!("mean of recall@1 to recall@{DEPTH}, both directions{pairs}, {rows}")
}

/// The expected criterion of random scores over a gallery of `n` items.
fn chance(n: usize) -> f64 {
    (1..=DEPTH).map(|k| (k as f64 / n as f64).min(1.0)).sum::<f64>() / DEPTH as f64
}

/// Returns the largest number of score tables of a search: each curve once, those of all modalities but the
/// last perhaps twice, the grid, and its refinements.
fn tables(lists: &[usize]) -> usize {
    let passes = |list: &usize| if *list > 1 { *list } else { 0 };
    let again = &lists[..lists.len() - 1];
    lists.iter().map(passes).sum::<usize>() + again.iter().map(passes).sum::<usize>() + 2
}

/// The prepared folds, which are computed once and scored many times.
struct Evaluator<'a, M> {
    method: &'a M,
    /// By fold, by modality, by curve.
    prepared: Vec<Vec<Vec<FoldView>>>,
    folds: &'a Folds,
    /// Number of curves of each modality.
    lists: Vec<usize>,
    anchor: Option<usize>,
    progress: Progress<'a>,
}

impl<M: SearchMethod> Evaluator<'_, M> {
    /// Chooses the curve of each modality in turn, and again where the choice of a later modality differs
    /// from the one that was assumed.
    fn best_curves(&self) -> Result<Vec<usize>> {
        let count = self.lists.len();
        let mut best = vec![0; count];
        // the curves of all modalities when each modality's curve was chosen
        let mut seen: Vec<Option<Vec<usize>>> = vec![None; count];
        for modality in (0..count).chain(0..count - 1) {
            if self.lists[modality] > 1 && seen[modality].as_ref() != Some(&best) {
                best[modality] = self.best_curve(modality, &best)?;
            }
            seen[modality] = Some(best.clone());
        }
        Ok(best)
    }

    fn best_curve(&self, modality: usize, at: &[usize]) -> Result<usize> {
        let mut at = at.to_vec();
        let mut best = (0, f64::NEG_INFINITY);
        for curve in 0..self.lists[modality] {
            at[modality] = curve;
            let candidates = self.method.candidates(&self.ranks(&at), true);
            let score = self.scores(&at, &candidates)?.into_iter().fold(f64::NEG_INFINITY, f64::max);
            if score > best.1 {
                best = (curve, score);
            }
        }
        Ok(best.0)
    }

    /// All settings and their scores, best first.
    fn ranked(&self, curves: &[usize]) -> Result<(Vec<M::Candidate>, Vec<f64>)> {
        let ranks = self.ranks(curves);
        let mut settings = self.method.candidates(&ranks, false);
        let mut scores = self.scores(curves, &settings)?;
        // the first of equal scores wins
        let best = (1..scores.len()).fold(0, |best, at| if scores[at] > scores[best] { at } else { best });
        let more = self.method.refinements(&ranks, &settings[best]);
        if !more.is_empty() {
            scores.extend(self.scores(curves, &more)?);
            settings.extend(more);
        }
        let mut order: Vec<usize> = (0..settings.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        Ok(order.into_iter().map(|at| (settings[at].clone(), scores[at])).unzip())
    }

    /// The smallest rank of each modality over the folds.
    fn ranks(&self, curves: &[usize]) -> Vec<usize> {
        let rank = |(modality, &curve): (usize, &usize)| {
            self.prepared.iter().map(|fold| fold[modality][curve].basis.rank()).min().unwrap_or(1)
        };
        curves.iter().enumerate().map(rank).collect()
    }

    /// The mean of the candidates' scores over the folds.
    fn scores(&self, curves: &[usize], candidates: &[M::Candidate]) -> Result<Vec<f64>> {
        let by_fold: Vec<Vec<f64>> = self
            .prepared
            .par_iter()
            .zip(&self.folds.splits)
            .map(|(prepared, split)| {
                let views = prepared.iter().zip(curves).map(|(list, &curve)| &list[curve]).collect();
                let fold = Fold { views, matches: &split.matches, anchor: self.anchor };
                let tick = || self.progress.tick(0);
                let scores = self.method.scores(&fold, candidates, &tick)?;
                self.progress.tick(1)?;
                Ok(scores)
            })
            .collect::<Result<_>>()?;
        let mean = |at: usize| by_fold.iter().map(|fold| fold[at]).sum::<f64>() / by_fold.len() as f64;
        Ok((0..candidates.len()).map(mean).collect())
    }
}

/// Prepares every modality of every fold with each of its curves.
fn prepare(
    views: &Views<'_>,
    specs: &[FeatureSpec<'_>],
    curves: &[Vec<Curve>],
    folds: &[RowFold],
    progress: &Progress<'_>,
) -> Result<Vec<Vec<Vec<FoldView>>>> {
    let of_modality = |fold: &RowFold, at: usize| -> Result<Vec<FoldView>> {
        curves[at]
            .par_iter()
            .map(|&curve| {
                let prepared =
                    fold_view(&views.all()[at], specs[at], curve, &fold.train[at], &fold.test[at])?;
                progress.tick(1)?;
                Ok(prepared)
            })
            .collect()
    };
    folds
        .par_iter()
        .map(|fold| (0..curves.len()).into_par_iter().map(|at| of_modality(fold, at)).collect())
        .collect()
}

/// Counts the work done on all threads, and stops all of them when the caller asks to.
struct Progress<'a> {
    context: FitContext<'a>,
    done: AtomicU64,
    total: u64,
    stopped: AtomicBool,
}

impl<'a> Progress<'a> {
    fn new(context: FitContext<'a>, total: u64) -> Self {
        Self { context, done: AtomicU64::new(0), total, stopped: AtomicBool::new(false) }
    }

    fn tick(&self, steps: u64) -> Result<()> {
        let done = self.done.fetch_add(steps, Ordering::Relaxed) + steps;
        let go_on = (self.context.progress)(done.min(self.total), self.total);
        if !go_on || self.stopped.load(Ordering::Relaxed) {
            self.stopped.store(true, Ordering::Relaxed);
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
