//! Choosing what was not given, by cross-validation inside the training rows.
//!
//! Five seeded folds; a candidate is scored by the mean of recall@1 to recall@20 in both directions on the rows left
//! out, a smoother figure than recall at a few ranks and so less of a lottery. First each side's curve is chosen, one side
//! after the other with a few quick settings; then the whole grid of settings is scored with those curves. Nothing
//! outside the given rows is looked at.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chiasm_geometry::folds::{Fold, seeded};
use chiasm_geometry::linalg::product;
use chiasm_geometry::random::Random;
use chiasm_geometry::retrieval::Ranks;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::Serialize;

use crate::basis::Basis;
use crate::kernel::Kernel;
use crate::side::{Lens, Side};
use crate::transform::{Curve, Transform};
use crate::{Conduct, Error, Pairs, Result};

/// Folds of the inner cross-validation.
const FOLDS: usize = 5;
/// Ranks that the criterion looks at.
const DEPTH: usize = 20;
/// Below this many rows the defaults are taken: a fold would hold a single row.
const FEWEST: usize = 2 * FOLDS;
/// Rows that the search uses at most; more would cost time and change no choice.
const MOST: usize = 2000;
/// Axes of a side at most while searching.
const AXES: usize = 300;

/// How a choice was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The criterion in words.
    pub criterion: String,
    /// Its value for the best candidate.
    pub score: f64,
    /// Its value for a map that knows nothing.
    pub chance: f64,
    /// Candidates scored.
    pub candidates: usize,
    /// Rows that the search used.
    pub rows: usize,
    /// Inner folds.
    pub folds: usize,
}

/// The curves to try: what is given, else both.
pub(crate) fn curves(given: Option<Curve>) -> Vec<Curve> {
    given.map_or_else(|| vec![Curve::Unit, Curve::SignedRoot], |curve| vec![curve])
}

/// How a side is looked at, but for its curve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) side: &'static str,
    pub(crate) blocks: Option<&'a [usize]>,
    pub(crate) kernel: Option<Landmarks<'a>>,
}

/// The landmarks of a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Landmarks<'a> {
    pub(crate) widths: &'a [f64],
    pub(crate) most: usize,
    pub(crate) seed: u64,
}

/// One side of one fold in its own spectral basis.
pub(crate) struct Half {
    pub(crate) basis: Basis,
    pub(crate) train: Array2<f64>,
    pub(crate) test: Array2<f64>,
}

/// Called between pieces of work; an error asks to stop.
pub(crate) type Beat<'a> = &'a (dyn Fn() -> Result<()> + Sync);

/// A method seen by the search.
pub(crate) trait Method: Sync {
    /// What is chosen.
    type Setting: Clone + Send + Sync;

    /// The candidates for sides of these ranks; only a few when `quick`.
    fn candidates(&self, ranks: [usize; 2], quick: bool) -> Vec<Self::Setting>;

    /// The criterion of each candidate on the test rows of one fold; `beat` is called now and then and may stop it.
    fn scores(
        &self,
        source: &Half,
        target: &Half,
        candidates: &[Self::Setting],
        beat: Beat<'_>,
    ) -> Result<Vec<f64>>;
}

/// What a search found: the curves, and all settings by falling score.
pub(crate) struct Found<S> {
    pub(crate) curves: [Curve; 2],
    pub(crate) ranked: Vec<S>,
    /// `None` when there was nothing to choose or there were too few rows to choose by.
    pub(crate) report: Option<Report>,
}

impl Look<'_> {
    /// The fitted lens of training rows.
    pub(crate) fn open(self, curve: Curve, rows: ArrayView2<'_, f32>, limit: usize) -> Result<Lens> {
        let transform = Transform::new(self.side, curve, self.blocks, rows.ncols())?;
        let Some(Landmarks { widths, most, seed }) = self.kernel else {
            return Ok(Lens { transform, kernel: None });
        };
        let chosen = subset(rows.nrows(), most, seed);
        let landmarks = transform.apply(rows.select(Axis(0), &chosen).view());
        Ok(Lens { transform, kernel: Some(Kernel::fit(landmarks, widths, limit)?) })
    }
}

/// One side of all training rows, in its own basis.
pub(crate) struct Opened {
    pub(crate) lens: Lens,
    pub(crate) basis: Basis,
    pub(crate) coordinates: Array2<f64>,
}

impl Opened {
    /// The side that maps coordinates with `weights`.
    pub(crate) fn side(self, weights: &Array2<f64>) -> Result<Side> {
        let weights = product(&self.basis.axes, weights)?;
        Ok(Side::new(self.lens, self.basis.mean, Some(weights)))
    }
}

/// Both sides of all training rows in their own bases.
pub(crate) fn open(
    pairs: Pairs<'_>,
    looks: [Look<'_>; 2],
    curves: [Curve; 2],
    limit: usize,
) -> Result<[Opened; 2]> {
    let side = |at: usize, rows: ArrayView2<'_, f32>| -> Result<Opened> {
        let lens = looks[at].open(curves[at], rows, limit)?;
        let features = lens.features(rows)?;
        let basis = Basis::fit(looks[at].side, &features, limit)?;
        Ok(Opened { coordinates: basis.coordinates(&features)?, basis, lens })
    };
    let (source, target) = rayon::join(|| side(0, pairs.source), || side(1, pairs.target));
    Ok([source?, target?])
}

/// Axes of a side in a final fit: more rows bear more.
pub(crate) fn axes(rows: usize) -> usize {
    (rows / 4).clamp(AXES, 1024)
}

/// The criterion: mean recall@1..20 both ways of paired unit rows.
pub(crate) fn criterion(source: &Array2<f64>, target: &Array2<f64>) -> Result<f64> {
    let scores = product(source, &target.t())?;
    Ok(Ranks::of_scores(scores.mapv(|s| s as f32).view())?.early_recall(DEPTH))
}

/// Chooses curves and ranks settings; asks nothing of the data when each list holds one candidate.
pub(crate) fn search<M: Method>(
    method: &M,
    pairs: Pairs<'_>,
    looks: [Look<'_>; 2],
    curves: &[Vec<Curve>; 2],
    conduct: Conduct<'_>,
) -> Result<Found<M::Setting>> {
    let first = [curves[0][0], curves[1][0]];
    let rows = pairs.rows();
    let free = |ranks| curves.iter().any(|list| list.len() > 1) || method.candidates(ranks, false).len() > 1;
    if !free([AXES, AXES]) || rows < FEWEST {
        let ranked = method.candidates([rows - 1, rows - 1], true);
        return Ok(Found { curves: first, ranked, report: None });
    }
    let chosen = subset(rows, MOST, conduct.seed);
    let folds: Vec<Fold> = seeded(chosen.len(), FOLDS, conduct.seed)?
        .into_iter()
        .map(|fold| {
            let name = |places: Vec<usize>| places.into_iter().map(|place| chosen[place]).collect();
            Fold { train: name(fold.train), test: name(fold.test) }
        })
        .collect();
    let lists = [curves[0].len(), curves[1].len()];
    let passes = |list: usize| if list > 1 { list } else { 0 };
    let tables = 2 * passes(lists[0]) + passes(lists[1]) + 1;
    let ticker = Ticker::new(conduct, (FOLDS * (lists[0] + lists[1] + tables)) as u64);
    let bench = Bench { method, halves: halves(pairs, looks, curves, &folds, &ticker)?, lists, ticker };
    let mut best = [0, 0];
    // the source, then the target, then the source again if the target's choice moved
    for side in [0, 1, 0] {
        let settled = side == 0 && best[0] > 0 && best[1] == 0;
        if lists[side] > 1 && !settled {
            best[side] = bench.best_curve(side, best)?;
        }
    }
    let (settings, scores) = bench.table(best, false)?;
    let mut order: Vec<usize> = (0..settings.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let report = Report {
        criterion: format!("mean of recall@1 to recall@{DEPTH}, both directions, rows left out"),
        score: scores[order[0]],
        chance: chance(chosen.len() / FOLDS),
        candidates: settings.len() + lists[0] + lists[1] - 2,
        rows: chosen.len(),
        folds: FOLDS,
    };
    let ranked = order.into_iter().map(|at| settings[at].clone()).collect();
    Ok(Found { curves: [curves[0][best[0]], curves[1][best[1]]], ranked, report: Some(report) })
}

/// At most `limit` of `n` rows in increasing order, seeded.
pub(crate) fn subset(n: usize, limit: usize, seed: u64) -> Vec<usize> {
    if n <= limit {
        return (0..n).collect();
    }
    let mut chosen = Random::new(seed).permutation(n);
    chosen.truncate(limit);
    chosen.sort_unstable();
    chosen
}

/// The criterion of a map that knows nothing, over a gallery of `n`.
fn chance(n: usize) -> f64 {
    (1..=DEPTH).map(|k| (k as f64 / n as f64).min(1.0)).sum::<f64>() / DEPTH as f64
}

/// Everything that is worked out once and scored many times.
struct Bench<'a, M> {
    method: &'a M,
    /// By fold, then the source's curves, then the target's.
    halves: Vec<Vec<Half>>,
    lists: [usize; 2],
    ticker: Ticker<'a>,
}

impl<M: Method> Bench<'_, M> {
    fn best_curve(&self, side: usize, mut at: [usize; 2]) -> Result<usize> {
        let mut best = (0, f64::NEG_INFINITY);
        for curve in 0..self.lists[side] {
            at[side] = curve;
            let (_, scores) = self.table(at, true)?;
            let score = scores.into_iter().fold(f64::NEG_INFINITY, f64::max);
            if score > best.1 {
                best = (curve, score);
            }
        }
        Ok(best.0)
    }

    /// The candidates and the mean of their scores over the folds.
    fn table(&self, curves: [usize; 2], quick: bool) -> Result<(Vec<M::Setting>, Vec<f64>)> {
        let place = [curves[0], self.lists[0] + curves[1]];
        let rank =
            |side: usize| self.halves.iter().map(|fold| fold[place[side]].basis.rank()).min().unwrap_or(1);
        let candidates = self.method.candidates([rank(0), rank(1)], quick);
        let by_fold: Vec<Vec<f64>> = self
            .halves
            .par_iter()
            .map(|fold| {
                let beat = || self.ticker.tick(0);
                let scores = self.method.scores(&fold[place[0]], &fold[place[1]], &candidates, &beat)?;
                self.ticker.tick(1)?;
                Ok(scores)
            })
            .collect::<Result<_>>()?;
        let mean = |at: usize| by_fold.iter().map(|fold| fold[at]).sum::<f64>() / by_fold.len() as f64;
        let scores = (0..candidates.len()).map(mean).collect();
        Ok((candidates, scores))
    }
}

fn halves(
    pairs: Pairs<'_>,
    looks: [Look<'_>; 2],
    curves: &[Vec<Curve>; 2],
    folds: &[Fold],
    ticker: &Ticker<'_>,
) -> Result<Vec<Vec<Half>>> {
    let sides = [pairs.source, pairs.target];
    let jobs: Vec<(usize, Curve)> =
        (0..2).flat_map(|side| curves[side].iter().map(move |&curve| (side, curve))).collect();
    folds
        .par_iter()
        .map(|fold| {
            jobs.par_iter()
                .map(|&(side, curve)| {
                    let train = sides[side].select(Axis(0), &fold.train);
                    let test = sides[side].select(Axis(0), &fold.test);
                    let lens = looks[side].open(curve, train.view(), AXES)?;
                    let train = lens.features(train.view())?;
                    let basis = Basis::fit(looks[side].side, &train, AXES)?;
                    let half = Half {
                        train: basis.coordinates(&train)?,
                        test: basis.coordinates(&lens.features(test.view())?)?,
                        basis,
                    };
                    ticker.tick(1)?;
                    Ok(half)
                })
                .collect()
        })
        .collect()
}

/// Counts work done on any thread, and passes on the wish to stop.
struct Ticker<'a> {
    conduct: Conduct<'a>,
    done: AtomicU64,
    total: u64,
    stopped: AtomicBool,
}

impl<'a> Ticker<'a> {
    fn new(conduct: Conduct<'a>, total: u64) -> Self {
        Self { conduct, done: AtomicU64::new(0), total, stopped: AtomicBool::new(false) }
    }

    fn tick(&self, steps: u64) -> Result<()> {
        let done = self.done.fetch_add(steps, Ordering::Relaxed) + steps;
        let go_on = (self.conduct.progress)(done.min(self.total), self.total);
        if !go_on || self.stopped.load(Ordering::Relaxed) {
            self.stopped.store(true, Ordering::Relaxed);
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
