//! Wasserstein-Procrustes: a rotation from some known pairs and many rows whose partners nobody knows.
//!
//! Both sides are reduced to k principal coordinates of all their rows and brought to length one, a_i and b_j. The known
//! pairs give a first rotation R = polar(Σ a_i b_iᵀ). Then two steps take turns (Grave, Joulin and Berthet 2019, arXiv
//! 1805.11222): an optimal plan P from the turned source rows to the target rows without a partner, and
//!
//! R = polar(Σ_pairs a_i b_iᵀ + weight Σ_i a_i (Σ_j P_ij b_j / Σ_j P_ij)ᵀ),
//!
//! so that none to all pairs known is one objective. Without any pair the first plan is Gromov-Wasserstein's, which sees
//! distances alone. With all pairs known there is nothing to transport: it is [`crate::procrustes`].
//!
//! Rows after the first `pairs` are shuffled on the target's side before anything looks at them, so that a partner's
//! place cannot help by accident. Curves and k are chosen by leaving known pairs out and ranking their partners among
//! all rows; without pairs there is nothing to choose by.

use chiasm_geometry::folds::seeded;
use chiasm_geometry::linalg::product;
use chiasm_geometry::random::Random;
use chiasm_transport::{Cost, Gromov, Limits, Sinkhorn, Space, barycentric, exact, uniform};
use linfa::ParamGuard;
use ndarray::{Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::basis::{columns, unit_rows};
use crate::error::check;
use crate::pairs::estimator;
use crate::procrustes::{Procrustes, polar};
use crate::search::{Look, Opened, Report, curves, open, subset};
use crate::{Conduct, Curve, Error, Fitted, Pairs, Result};

const DIMENSIONS: [usize; 6] = [8, 16, 24, 32, 48, 64];
/// Taken where there are too few pairs to choose by.
const SAFE: (Curve, usize) = (Curve::Unit, 16);
/// Folds over the known pairs, and the fewest pairs that are worth it.
const FOLDS: usize = 10;
/// Rows of each side that Gromov-Wasserstein sees at most: its work grows with their square.
const SEEN: usize = 800;
const EPS_SCALE: f64 = 0.05;
const WEIGHT: f64 = 0.3;
const STEPS: usize = 10;

/// How the plan of each turn is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Entropic: each row goes to a mean of its likely partners.
    Sinkhorn,
    /// Exact: each row goes to one partner.
    Emd,
}

/// Parameters of Wasserstein-Procrustes, not checked yet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OtMapParams(OtMap);

/// Checked parameters of Wasserstein-Procrustes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtMap {
    /// What source rows go through first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_curve: Option<Curve>,
    /// What target rows go through first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_curve: Option<Curve>,
    /// Widths of the encoders whose outputs stand side by side in a source row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_blocks: Option<Vec<usize>>,
    /// Widths of the encoders whose outputs stand side by side in a target row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_blocks: Option<Vec<usize>>,
    /// Principal coordinates kept of each side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// So many of the first rows are pairs, the others have no partner (all).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<usize>,
    /// How the plan of each turn is found (sinkhorn).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solver: Option<Solver>,
    /// Sinkhorn's regularisation as a share of the mean cost (0.05).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps_scale: Option<f64>,
    /// What a row without a partner counts beside a pair (0.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Turns of plan and rotation at most (10); 0 uses the pairs alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
}

estimator!(OtMapParams, OtMap);

impl OtMap {
    fn check(&self) -> Result<()> {
        check("dimensions", &self.dimensions, "at least 1", |&k| k > 0)?;
        check("eps_scale", &self.eps_scale, "a number above 0", |&e| e > 0.0 && e.is_finite())?;
        check("weight", &self.weight, "a number >= 0", |&w| w >= 0.0 && w.is_finite())
    }

    /// Fits on rows of which the first `pairs` belong together.
    ///
    /// # Errors
    /// When a side does not vary, blocks do not add up, no plan is found, or the caller asked to stop.
    pub fn fit_with(&self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Fitted<OtMapParams>> {
        self.check()?;
        let known = self.pairs.unwrap_or(pairs.rows()).min(pairs.rows());
        if known == pairs.rows() {
            return self.all_known(pairs, conduct);
        }
        let target = pairs.target.select(Axis(0), &order(pairs.rows(), known, conduct.seed));
        let pairs = Pairs { source: pairs.source.view(), target: target.view() };
        let look = |side, blocks| Look { side, blocks, kernel: None };
        let looks =
            [look("source", self.source_blocks.as_deref()), look("target", self.target_blocks.as_deref())];
        let limit = self.dimensions.unwrap_or(DIMENSIONS[DIMENSIONS.len() - 1]);
        let views = [Curve::Unit, Curve::SignedRoot].map(|curve| open(pairs, looks, [curve; 2], limit));
        let [plain, rooted] = views;
        let views = [plain?, rooted?];
        let (chosen, report) = self.choose(&views, known, conduct.seed)?;
        let [source, target] = chosen.sides(&views);
        let (a, b) = (chosen.rows(source), chosen.rows(target));
        let turn = self.turns(&a, &b, known, conduct)?;
        let k = turn.nrows();
        let lift = |rank: usize, turn: &Array2<f64>| {
            let mut out = Array2::zeros((rank, k));
            out.slice_axis_mut(Axis(0), Slice::from(..k)).assign(turn);
            out
        };
        let sides = [
            source.clone().side(&lift(source.basis.rank(), &turn))?,
            target.clone().side(&lift(target.basis.rank(), &Array2::eye(k)))?,
        ];
        let [source, target] = sides;
        let parameters = Self {
            source_curve: Some(chosen.curves[0]),
            target_curve: Some(chosen.curves[1]),
            dimensions: Some(k),
            ..self.clone()
        };
        Ok(Fitted { source, target, parameters: parameters.into(), report })
    }

    fn all_known(&self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Fitted<OtMapParams>> {
        let method = Procrustes {
            source_curve: self.source_curve,
            target_curve: self.target_curve,
            source_blocks: self.source_blocks.clone(),
            target_blocks: self.target_blocks.clone(),
            dimensions: self.dimensions,
        };
        let fitted = method.fit_with(pairs, conduct)?;
        let found = fitted.parameters.check()?;
        let parameters = Self {
            source_curve: found.source_curve,
            target_curve: found.target_curve,
            dimensions: found.dimensions,
            ..self.clone()
        };
        Ok(Fitted {
            source: fitted.source,
            target: fitted.target,
            parameters: parameters.into(),
            report: fitted.report,
        })
    }

    /// The curves and k whose rotation, learned without some of the known pairs, ranks their partners best.
    fn choose(&self, views: &[[Opened; 2]; 2], known: usize, seed: u64) -> Result<(Chosen, Option<Report>)> {
        let sizes = self.dimensions.map_or(DIMENSIONS.to_vec(), |k| vec![k]);
        let mut candidates = Vec::new();
        for source in curves(self.source_curve) {
            for target in curves(self.target_curve) {
                for &k in &sizes {
                    let candidate = Chosen { curves: [source, target], k };
                    let rank = candidate.sides(views).map(|side| side.basis.rank());
                    candidates.push(Chosen { k: k.min(rank[0]).min(rank[1]), ..candidate });
                }
            }
        }
        if known < FOLDS || candidates.len() == 1 {
            let k = self.dimensions.unwrap_or(SAFE.1).min(candidates[candidates.len() - 1].k);
            let curve = |given: Option<Curve>| given.unwrap_or(SAFE.0);
            return Ok((Chosen { curves: [curve(self.source_curve), curve(self.target_curve)], k }, None));
        }
        let scores: Vec<f64> = candidates
            .par_iter()
            .map(|candidate| {
                let [source, target] = candidate.sides(views);
                left_out(&candidate.rows(source), &candidate.rows(target), known, seed)
            })
            .collect::<Result<_>>()?;
        let best = (0..scores.len()).fold(0, |best, at| if scores[at] > scores[best] { at } else { best });
        let rows = views[0][0].coordinates.nrows();
        let report = Report {
            criterion: "mean of 1 - ln(rank) / ln(rows) of left-out partners among all rows, both directions"
                .to_owned(),
            score: scores[best],
            chance: 1.0
                - (1..=rows).map(|rank| (rank as f64).ln()).sum::<f64>() / rows as f64 / (rows as f64).ln(),
            candidates: candidates.len(),
            rows: known,
            folds: FOLDS,
        };
        Ok((candidates[best], Some(report)))
    }

    /// Plan and rotation in turns until the rotation stays.
    fn turns(
        &self,
        a: &Array2<f64>,
        b: &Array2<f64>,
        known: usize,
        conduct: Conduct<'_>,
    ) -> Result<Array2<f64>> {
        let part = |rows: &Array2<f64>, range| rows.slice_axis(Axis(0), range).to_owned();
        let (pairs, rest) = (Slice::from(..known), Slice::from(known..));
        let known_pull = product(&part(a, pairs).t(), &part(b, pairs))?;
        let (a, b) = (part(a, rest), part(b, rest).mapv(|v| v as f32));
        let mut turn =
            if known == 0 { unpaired(&a, b.view(), conduct.seed)? } else { polar(known_pull.view())? };
        let (steps, weight) = (self.steps.unwrap_or(STEPS), self.weight.unwrap_or(WEIGHT));
        for step in 0..steps {
            if !(conduct.progress)(step as u64, steps as u64) {
                return Err(Error::Cancelled);
            }
            let turned = product(&a, &turn)?.mapv(|v| v as f32);
            let targets = self.targets(turned.view(), b.view())?.mapv(f64::from);
            let next = polar((product(&a.t(), &targets)? * weight + &known_pull).view())?;
            let moved = (&next - &turn).iter().map(|d| d * d).sum::<f64>().sqrt();
            turn = next;
            if moved < 1e-3 {
                break;
            }
        }
        Ok(turn)
    }

    /// Where the plan sends each source row.
    fn targets(&self, x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let weights = uniform(x.nrows());
        let cost = Cost::squared_euclidean(x, y)?;
        match self.solver.unwrap_or(Solver::Sinkhorn) {
            Solver::Sinkhorn => {
                let solver = Sinkhorn::of_mean_cost(self.eps_scale.unwrap_or(EPS_SCALE)).tolerance(1e-3);
                Ok(solver.solve(&cost, &weights, &weights)?.barycentric(y)?)
            }
            Solver::Emd => {
                // For unit rows the assignment of least distance is that of most similarity.
                let cost = x.dot(&y.t()).mapv(|s| 1.0 - f64::from(s));
                let found = exact(cost.view(), &weights, &weights, &Limits::new(usize::MAX))?;
                Ok(barycentric(found.plan().mapv(|p| p as f32).view(), y)?)
            }
        }
    }
}

/// What is chosen by left-out pairs.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    curves: [Curve; 2],
    k: usize,
}

impl Chosen {
    fn sides<'v>(&self, views: &'v [[Opened; 2]; 2]) -> [&'v Opened; 2] {
        let view = |side: usize| &views[usize::from(self.curves[side] == Curve::SignedRoot)][side];
        [view(0), view(1)]
    }

    fn rows(&self, side: &Opened) -> Array2<f64> {
        unit_rows(columns(&side.coordinates, self.k).to_owned())
    }
}

/// The target's rows behind the known pairs in an order that says nothing.
fn order(rows: usize, known: usize, seed: u64) -> Vec<usize> {
    let rest = Random::new(seed).permutation(rows - known);
    (0..known).chain(rest.into_iter().map(|place| known + place)).collect()
}

/// How well rotations learned from the other known pairs rank a pair's partner among all rows, both ways; 1 is always first.
fn left_out(a: &Array2<f64>, b: &Array2<f64>, known: usize, seed: u64) -> Result<f64> {
    let mut sum = 0.0;
    for fold in seeded(known, FOLDS, seed)? {
        let pick = |rows: &Array2<f64>, at: &[usize]| rows.select(Axis(0), at);
        let turn = polar(product(&pick(a, &fold.train).t(), &pick(b, &fold.train))?.view())?;
        let forth = product(&product(&pick(a, &fold.test), &turn)?, &b.t())?;
        let back = product(&pick(b, &fold.test), &product(a, &turn)?.t())?;
        for scores in [forth, back] {
            for (row, &own) in scores.outer_iter().zip(&fold.test) {
                let rank = 1 + row.iter().filter(|score| **score > row[own]).count();
                sum += 1.0 - (rank as f64).ln() / (b.nrows() as f64).ln();
            }
        }
    }
    Ok(sum / (2 * known) as f64)
}

/// A first rotation from the two clouds' inner distances alone.
fn unpaired(a: &Array2<f64>, b: ArrayView2<'_, f32>, seed: u64) -> Result<Array2<f64>> {
    let seen = subset(a.nrows(), SEEN, seed);
    let (a, b) = (a.select(Axis(0), &seen), b.select(Axis(0), &seen));
    let space = |rows: &Array2<f32>| Space::squared_euclidean(rows.view()).map(Space::normalised);
    let (x, y) = (space(&a.mapv(|v| v as f32))?, space(&b)?);
    let weights = uniform(seen.len());
    let found = Gromov::entropic(5e-4).annealing(0.02).starts(3).solve(&x, &y, &weights, &weights)?;
    let targets = barycentric(found.plan.view(), b.view())?.mapv(f64::from);
    polar(product(&a.t(), &targets)?.view())
}
