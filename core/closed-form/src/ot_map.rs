//! Wasserstein-Procrustes: a rotation from some known pairs and many rows whose partners nobody knows.
//!
//! Both sides are reduced to k principal coordinates of all their rows and brought to length one, a_i and b_j. The known
//! pairs give a first rotation R = polar(Σ a_i b_iᵀ). Then two steps take turns (Grave, Joulin and Berthet 2019, arXiv
//! 1805.11222): an optimal plan P from the turned source rows to the target rows without a partner, and
//!
//! R = polar(Σ_pairs a_i b_iᵀ + weight Σ_i a_i (Σ_j P_ij b_j / Σ_j P_ij)ᵀ),
//!
//! so that none to all pairs known is one objective. Without any pair each of `unpaired.rs`'s guesses takes its
//! turns, and the one whose plan costs least is kept. With all pairs known there is nothing to find: R is that of
//! [`crate::procrustes`].
//!
//! What a turned row goes through then is one of three. *Orthogonal*, nothing: distances stay. *Gaussian*, the optimal affine map
//! between the Gaussians of both clouds (Knott and Smith 1984), which also matches how far each reaches along every axis; linear
//! as the rotation is, so it has the same exact way back. *Attention*, the entropic map T(x) = Σ_j softmax_j((2 x·b_j + g_j) / ε) b_j
//! (Pooladian and Niles-Weed 2021, arXiv 2109.12004), g the dual potential of a plan between both clouds: each row
//! goes to a mean of likely target rows, so there is no way back.
//!
//! Rows after the first `pairs` are shuffled on the target's side before anything looks at them, so that a partner's
//! place cannot help by accident. Curves and k are chosen as Procrustes chooses them, from the known pairs alone, where these
//! are enough; a few pairs choose at random (measured: worse than any fixed k from 24 to 96), so then they are fixed.

use chiasm_geometry::linalg::product;
use chiasm_geometry::random::Random;
use chiasm_transport::{Cost, EntropicMap, Limits, Sinkhorn, exact, gaussian_map, uniform};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::basis::{columns, unit_rows};
use crate::error::check;
use crate::pairs::estimator;
use crate::procrustes::{Procrustes, polar};
use crate::search::{Look, Opened, Report, axes, curves, open, search, subset};
use crate::unpaired::rotations;
use crate::{Conduct, Curve, Error, Fitted, Pairs, Result};

/// Known pairs from which on curves and k are chosen by them.
const ENOUGH: usize = 100;
/// What is taken below that.
const SAFE: (Curve, usize) = (Curve::Unit, 48);
const EPS_SCALE: f64 = 0.05;
const WEIGHT: f64 = 0.1;
const STEPS: usize = 20;
const TIME_LIMIT: f64 = 600.0;
/// Rows of each side that an entropic map attends to at most: the exported layer holds them.
const ATTENDED: usize = 4096;
/// Rows whose distances the exact solver holds at most, 3 GiB in double precision.
const MOST_EXACT: usize = 20_000;

/// How the plan of each turn is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Entropic: each row goes to a mean of its likely partners.
    Sinkhorn,
    /// Exact: each row goes to one partner.
    Emd,
}

/// What a turned source row goes through on its way to the target's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Map {
    /// Nothing: the map is the rotation.
    Orthogonal,
    /// The optimal affine map between the Gaussians of both clouds.
    Gaussian,
    /// The entropic map between both clouds of unit rows.
    Attention,
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
    /// What a row without a partner counts beside a pair (0.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Turns of plan and rotation at most (20); 0 uses the pairs alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// What a turned row goes through (orthogonal: nothing).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<Map>,
    /// Of a Gaussian map: the share of each covariance that its mean variance replaces (0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrinkage: Option<f64>,
    /// Of the exact solver: the most seconds for one plan (600).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<f64>,
}

estimator!(OtMapParams, OtMap);

impl OtMap {
    fn check(&self) -> Result<()> {
        check("dimensions", &self.dimensions, "at least 1", |&k| k > 0)?;
        check("eps_scale", &self.eps_scale, "a number above 0", |&e| e > 0.0 && e.is_finite())?;
        check("weight", &self.weight, "a number >= 0", |&w| w >= 0.0 && w.is_finite())?;
        check("shrinkage", &self.shrinkage, "a number in [0, 1)", |s| (0.0..1.0).contains(s))?;
        check("time_limit", &self.time_limit, "seconds above 0", |&t| t > 0.0)?;
        let (exact, map) = (self.solver == Some(Solver::Emd), self.map.unwrap_or(Map::Orthogonal));
        check("shrinkage", &self.shrinkage, "none but with map = gaussian", |_| map == Map::Gaussian)?;
        check("time_limit", &self.time_limit, "none but with solver = emd", |_| exact)?;
        let entropic = !exact || map == Map::Attention;
        check("eps_scale", &self.eps_scale, "none with solver = emd but for map = attention", |_| entropic)
    }

    /// Fits on rows of which the first `pairs` belong together.
    ///
    /// # Errors
    /// When a parameter is out of range or idle, a side does not vary, blocks do not add up, no plan is found (in time), or
    /// the caller asked to stop.
    pub fn fit_with(&self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Fitted<OtMapParams>> {
        self.check()?;
        let known = self.pairs.unwrap_or(pairs.rows()).min(pairs.rows());
        let target = pairs.target.select(Axis(0), &order(pairs.rows(), known, conduct.seed));
        let pairs = Pairs { source: pairs.source.view(), target: target.view() };
        let look = |side, blocks| Look { side, blocks, kernel: None };
        let looks =
            [look("source", self.source_blocks.as_deref()), look("target", self.target_blocks.as_deref())];
        let (curves, k, report) = self.choose(pairs, known, looks, conduct)?;
        let [source, target] = open(pairs, looks, curves, k)?;
        let k = k.min(source.basis.rank()).min(target.basis.rank());
        let rows = |side: &Opened| unit_rows(columns(&side.coordinates, k).to_owned());
        let (a, b) = (rows(&source), rows(&target));
        let mut turn = self.turns(&a, &b, known, conduct)?;
        let mut attention = None;
        match self.map.unwrap_or(Map::Orthogonal) {
            Map::Orthogonal => {}
            Map::Gaussian => turn = self.stretched(&turn, &source, &target, k)?,
            Map::Attention => attention = Some(self.attention(&product(&a, &turn)?, &b, conduct.seed)?),
        }
        let lift = |rank: usize, turn: &Array2<f64>| {
            let mut out = Array2::zeros((rank, k));
            out.slice_axis_mut(Axis(0), Slice::from(..k)).assign(turn);
            out
        };
        let ranks = [source.basis.rank(), target.basis.rank()];
        let parameters = Self {
            source_curve: Some(curves[0]),
            target_curve: Some(curves[1]),
            dimensions: Some(k),
            ..self.clone()
        };
        let source = source.side(&lift(ranks[0], &turn))?;
        Ok(Fitted {
            source: match attention {
                Some(attention) => source.followed_by(attention),
                None => source,
            },
            target: target.side(&lift(ranks[1], &Array2::eye(k)))?,
            parameters: parameters.into(),
            report,
        })
    }

    /// The rotation and behind it the Gaussian map of the turned coordinates, whose means are zero on both sides.
    fn stretched(
        &self,
        turn: &Array2<f64>,
        source: &Opened,
        target: &Opened,
        k: usize,
    ) -> Result<Array2<f64>> {
        let narrow = |rows: &Array2<f64>| rows.mapv(|v| v as f32);
        let turned = product(&columns(&source.coordinates, k), turn)?;
        let place = columns(&target.coordinates, k).to_owned();
        let shrinkage = self.shrinkage.unwrap_or(0.0);
        let map = gaussian_map(narrow(&turned).view(), narrow(&place).view(), shrinkage)?;
        Ok(product(turn, &map.matrix)?)
    }

    /// The entropic map from turned unit rows to the target's, of a sample where there are many.
    fn attention(&self, x: &Array2<f64>, y: &Array2<f64>, seed: u64) -> Result<EntropicMap> {
        let seen = subset(x.nrows(), ATTENDED, seed);
        let pick = |rows: &Array2<f64>| rows.select(Axis(0), &seen).mapv(|v| v as f32);
        let (x, y) = (pick(x), pick(y));
        let weights = uniform(seen.len());
        let cost = Cost::squared_euclidean(x.view(), y.view())?;
        Ok(self.entropic().solve(&cost, &weights, &weights)?.forward_map(y.view())?)
    }

    fn entropic(&self) -> Sinkhorn {
        Sinkhorn::of_mean_cost(self.eps_scale.unwrap_or(EPS_SCALE)).tolerance(1e-3)
    }

    fn procrustes(&self) -> Procrustes {
        Procrustes {
            source_curve: self.source_curve,
            target_curve: self.target_curve,
            source_blocks: self.source_blocks.clone(),
            target_blocks: self.target_blocks.clone(),
            dimensions: self.dimensions,
        }
    }

    /// Both curves, k, and how they were chosen.
    fn choose(
        &self,
        pairs: Pairs<'_>,
        known: usize,
        looks: [Look<'_>; 2],
        conduct: Conduct<'_>,
    ) -> Result<([Curve; 2], usize, Option<Report>)> {
        if known < ENOUGH && known < pairs.rows() {
            let curve = |given: Option<Curve>| given.unwrap_or(SAFE.0);
            let both = [curve(self.source_curve), curve(self.target_curve)];
            return Ok((both, self.dimensions.unwrap_or(SAFE.1), None));
        }
        let known = Slice::from(..known);
        let part = Pairs {
            source: pairs.source.slice_axis(Axis(0), known),
            target: pairs.target.slice_axis(Axis(0), known),
        };
        let candidates = [curves(self.source_curve), curves(self.target_curve)];
        let found = search(&self.procrustes(), part, looks, &candidates, conduct)?;
        let most = axes(pairs.rows()).max(self.dimensions.unwrap_or(0));
        Ok((found.curves, found.ranked[0].min(most), found.report))
    }

    /// The rotation after all turns; without pairs that of the guess whose plan ends at the least cost.
    fn turns(
        &self,
        a: &Array2<f64>,
        b: &Array2<f64>,
        known: usize,
        conduct: Conduct<'_>,
    ) -> Result<Array2<f64>> {
        let part = |rows: &Array2<f64>, range| rows.slice_axis(Axis(0), range).to_owned();
        let (pairs, rest) = (Slice::from(..known), Slice::from(known..));
        let pull = product(&part(a, pairs).t(), &part(b, pairs))?;
        let (a, b) = (part(a, rest), part(b, rest));
        if a.is_empty() {
            return polar(pull.view());
        }
        let starts = if known == 0 { rotations(&a, &b, conduct.seed)? } else { vec![polar(pull.view())?] };
        let mut best = (f64::INFINITY, Array2::zeros((0, 0)));
        for (turn, start) in starts.iter().enumerate() {
            let found = self.alternate(&a, &b, &pull, start, (turn, starts.len()), conduct)?;
            if found.0 < best.0 {
                best = found;
            }
        }
        Ok(best.1)
    }

    /// Plan and rotation in turns until the rotation stays: the last plan's cost, and the rotation.
    fn alternate(
        &self,
        a: &Array2<f64>,
        b: &Array2<f64>,
        pull: &Array2<f64>,
        start: &Array2<f64>,
        (at, of): (usize, usize),
        conduct: Conduct<'_>,
    ) -> Result<(f64, Array2<f64>)> {
        let y = b.mapv(|v| v as f32);
        let (mut turn, mut cost) = (start.clone(), 0.0);
        let (steps, weight) = (self.steps.unwrap_or(STEPS), self.weight.unwrap_or(WEIGHT));
        for step in 0..steps {
            if !(conduct.progress)((at * steps + step) as u64, (of * steps) as u64) {
                return Err(Error::Cancelled);
            }
            let turned = product(a, &turn)?.mapv(|v| v as f32);
            let (paid, targets) = self.targets(turned.view(), y.view())?;
            cost = paid;
            let next = polar((product(&a.t(), &targets.mapv(f64::from))? * weight + pull).view())?;
            let moved = (&next - &turn).iter().map(|d| d * d).sum::<f64>().sqrt();
            turn = next;
            if moved < 1e-3 {
                break;
            }
        }
        Ok((cost, turn))
    }

    /// What the plan costs, and where it sends each source row.
    fn targets(&self, x: ArrayView2<'_, f32>, y: ArrayView2<'_, f32>) -> Result<(f64, Array2<f32>)> {
        let weights = uniform(x.nrows());
        match self.solver.unwrap_or(Solver::Sinkhorn) {
            Solver::Sinkhorn => {
                let cost = Cost::squared_euclidean(x, y)?;
                let coupling = self.entropic().solve(&cost, &weights, &weights)?;
                Ok((coupling.report.transport_cost, coupling.barycentric(y)?))
            }
            Solver::Emd => {
                if x.nrows() > MOST_EXACT {
                    let expected = format!("at most {MOST_EXACT} without a partner for solver = emd");
                    return Err(Error::data("rows", expected, format!("{}; take sinkhorn", x.nrows())));
                }
                // For unit rows the assignment of least distance is that of most similarity.
                let cost = x.dot(&y.t()).mapv(|s| 1.0 - f64::from(s));
                let seconds = self.time_limit.unwrap_or(TIME_LIMIT);
                let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                let found = exact(cost.view(), &weights, &weights, &Limits::new(usize::MAX).time(time))?;
                let mut places = vec![0; x.nrows()];
                found.moves.iter().for_each(|&(i, j, _)| places[i] = j);
                Ok((found.transport_cost, y.select(Axis(0), &places)))
            }
        }
    }
}

/// The target's rows behind the known pairs in an order that says nothing.
fn order(rows: usize, known: usize, seed: u64) -> Vec<usize> {
    let rest = Random::new(seed).permutation(rows - known);
    (0..known).chain(rest.into_iter().map(|place| known + place)).collect()
}
