//! Wasserstein-Procrustes: a rotation between two modalities from known pairs and items without a partner.
//!
//! Rows that hold both modalities are the known pairs; rows that hold one only are the items without a
//! partner. Both modalities are reduced to k principal coordinates of all their items and brought to length
//! one, a_i and b_j. The known pairs give a first rotation R = polar(Σ a_i b_iᵀ) of the first modality onto
//! the second, or of the other one onto the anchor. Then two steps alternate (Grave, Joulin and Berthet 2019,
//! arXiv 1805.11222): an optimal plan P from the rotated items without a partner to those of the reference,
//! and
//!
//! R = polar(Σ_pairs a_i b_iᵀ + weight Σ_i a_i (Σ_j P_ij b_j / Σ_j P_ij)ᵀ),
//!
//! so that one objective covers all cases from no known pair to all pairs. Without a known pair, the
//! iteration is run from each initial rotation of `unpaired.rs` and the result with the cheapest plan is
//! kept. With all pairs known, R is that of [`crate::procrustes`]. Several items of a row count as one.
//!
//! A rotated item is then mapped in one of three ways. *Orthogonal*: not at all; distances are kept.
//! *Gaussian*: the optimal affine map between the Gaussians of both clouds (Knott and Smith 1984), which
//! also matches the spread along every axis; it is linear, so it has an exact inverse. *Attention*: the
//! entropic map T(x) = Σ_j softmax_j((2 x·b_j + g_j) / ε) b_j (Pooladian and Niles-Weed 2021, arXiv
//! 2109.12004), g the dual potential of a plan between both clouds. Each item is mapped to a mean of likely
//! items, so there is no inverse.
//!
//! `pairs` limits the number of rows that count as pairs; the items of the other rows count as items without
//! a partner. The reference's items without a partner are shuffled first, so that their order cannot reveal
//! their partners. Curves and k are chosen as in Procrustes, from the known pairs, if there are at least
//! 100. With fewer pairs the choice was measured to be worse than any fixed k from 24 to 96, so both are
//! fixed.
//!
//! ```
//! use chiasm_closed_form::ot_map::OtMap;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).cos());
//! let fitted = OtMap::params().dimensions(3_usize).pairs(20_usize).fit(&Dataset::new(x, y))?;
//! assert_eq!(fitted.maps[0].output_dim(), 3);
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use std::time::Duration;

use chiasm_geometry::linalg::product;
use chiasm_parameters::{Choice, ParameterError, Parameters, PerModality};
use chiasm_transport::{Cost, EntropicMap, PlanEntry, Sinkhorn, SolverLimits, exact, gaussian_map, uniform};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::basis::columns;
use crate::features::FeatureSpec;
use crate::fitted::estimator;
use crate::partners::{PartnerClouds, PartnerSplit};
use crate::per_modality::resolve;
use crate::prepared::Prepared;
use crate::procrustes::{DimensionSearch, polar};
use crate::sample::{axes, distinct, selected, subset};
use crate::search::{SearchReport, curves, search};
use crate::unpaired::rotations;
use crate::{Curve, Error, FitContext, Fitted, Result, View, Views};

/// The smallest number of known pairs by which curves and k are chosen.
const ENOUGH: usize = 100;
/// The curve and k with fewer pairs.
const SAFE: (Curve, usize) = (Curve::Unit, 48);
const EPS_SCALE: f64 = 0.05;
const WEIGHT: f64 = 0.1;
const STEPS: usize = 20;
const TIME_LIMIT: f64 = 600.0;
/// The largest number of items that an entropic map attends to; the exported layer stores them.
const ATTENDED: usize = 4096;
/// The largest number of items for the exact solver: their distances take 3 GiB in double precision.
const MOST_EXACT: usize = 20_000;

/// How the plan of each turn is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Choice)]
#[serde(rename_all = "lowercase")]
pub enum PlanSolver {
    /// Entropic: each item goes to a mean of its likely partners.
    Sinkhorn,
    /// Exact: each item goes to one partner, or a few where counts differ.
    Emd,
}

/// How a rotated item is mapped to the items of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Choice)]
#[serde(rename_all = "lowercase")]
pub enum MapKind {
    /// Nothing: the map is the rotation.
    Orthogonal,
    /// The optimal affine map between the Gaussians of both clouds.
    Gaussian,
    /// The entropic map between both clouds.
    Attention,
}

/// Parameters of Wasserstein-Procrustes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
#[parameters(builder, check = Self::check_together)]
pub struct OtMapParams {
    /// What items go through before they are brought to length one.
    pub curve: Option<PerModality<Curve>>,
    /// Number of principal coordinates kept of each modality.
    #[parameter(range = 1..)]
    pub dimensions: Option<usize>,
    /// The largest number of rows that hold both modalities and count as pairs, the first ones; all of them
    /// when not set.
    #[parameter(range = 0..)]
    pub pairs: Option<usize>,
    /// How the transport plan of each turn is found.
    #[parameter(default = PlanSolver::Sinkhorn)]
    pub solver: PlanSolver,
    /// Sinkhorn's regularisation as a share of the mean cost; 0.05 when not set.
    #[parameter(above = 0)]
    pub eps_scale: Option<f64>,
    /// The weight of an item without a partner, where a pair has weight 1.
    #[parameter(default = WEIGHT, range = 0..)]
    pub weight: f64,
    /// The largest number of turns, each a transport plan and a rotation; 0 uses the pairs alone.
    #[parameter(default = STEPS, range = 0..)]
    pub steps: usize,
    /// What a rotated item goes through.
    #[parameter(default = MapKind::Orthogonal)]
    pub map: MapKind,
    /// Of a Gaussian map: the share of each covariance that its mean variance replaces, below 1; 0 when not
    /// set.
    #[parameter(range = 0..=1)]
    pub shrinkage: Option<f64>,
    /// Of the exact solver: the largest number of seconds for one plan; 600 when not set.
    #[parameter(above = 0)]
    pub time_limit: Option<f64>,
}

/// The maps of a fit, and how they were found.
pub type OtMap = Fitted<OtMapParams>;

estimator!(OtMapParams, most: 2);

impl OtMapParams {
    fn check_together(&self) -> std::result::Result<(), ParameterError> {
        let refuse = |name: &str, value: Option<f64>, wrong: bool, expected: &str| match value {
            Some(value) if wrong => Err(ParameterError::new(name, expected, value.to_string())),
            _ => Ok(()),
        };
        let (exact, gaussian) = (self.solver == PlanSolver::Emd, self.map == MapKind::Gaussian);
        let entropic = !exact || self.map == MapKind::Attention;
        let whole = self.shrinkage.is_some_and(|share| share >= 1.0);
        refuse("shrinkage", self.shrinkage, whole, "a number below 1")?;
        refuse("shrinkage", self.shrinkage, !gaussian, "no value without map = gaussian")?;
        refuse("time_limit", self.time_limit, !exact, "no value without solver = emd")?;
        let expected = "no value with solver = emd, unless map = attention";
        refuse("eps_scale", self.eps_scale, !entropic, expected)
    }

    /// Fits on the items of two modalities; rows that hold both are pairs.
    ///
    /// # Errors
    /// When there are more than two modalities, a parameter is out of range or idle, a modality does not
    /// vary, no plan is found (in time), or the caller asked to stop.
    fn fit_with(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<OtMap> {
        if views.count() != 2 {
            return Err(Error::data("modalities of ot-map", "exactly 2", views.count().to_string()));
        }
        let names = views.names();
        let parts = PartnerSplit::of(views, self.pairs, context.seed);
        let (curves, k, report) = self.choose(views, &parts, context)?;
        let specs = FeatureSpec::linear(views);
        let open =
            |at: usize| Prepared::of(&views.all()[at], specs[at], curves[at], &parts[at].places(), |_| k);
        let (first, second) = rayon::join(|| open(0), || open(1));
        let prepared = [first?, second?];
        let k = k.min(prepared[0].basis.rank()).min(prepared[1].basis.rank());
        let (to, from) = (views.reference(), 1 - views.reference());
        let clouds = |at: usize| PartnerClouds::of(&prepared[at], &parts[at], k);
        let (a, b) = (clouds(from), clouds(to));
        let mut turn = self.rotation(&a, &b, context)?;
        let mut attention = None;
        match self.map {
            MapKind::Orthogonal => {}
            MapKind::Gaussian => turn = self.stretched(&turn, &prepared[from], &prepared[to], k)?,
            MapKind::Attention => {
                attention = Some(self.attention(&product(&a.all, &turn)?, &b.all, context.seed)?);
            }
        }
        let mut maps = Vec::new();
        for (at, view) in prepared.into_iter().enumerate() {
            let rotation = if at == from { turn.clone() } else { Array2::eye(k) };
            let mut lifted = Array2::zeros((view.basis.rank(), k));
            lifted.slice_axis_mut(Axis(0), Slice::from(..k)).assign(&rotation);
            let map = view.map(&lifted)?;
            maps.push(match attention.take_if(|_| at == from) {
                Some(attention) => map.followed_by(attention),
                None => map,
            });
        }
        let parameters =
            Self { curve: Some(PerModality::each(&names, &curves)), dimensions: Some(k), ..self.clone() };
        Ok(Fitted { maps, parameters, report })
    }

    /// Returns the product of the rotation and the Gaussian map of the rotated coordinates, whose means are
    /// zero.
    fn stretched(&self, turn: &Array2<f64>, from: &Prepared, to: &Prepared, k: usize) -> Result<Array2<f64>> {
        let narrow = |rows: &Array2<f64>| rows.mapv(|v| v as f32);
        let turned = product(&columns(&from.coordinates, k), turn)?;
        let place = columns(&to.coordinates, k).to_owned();
        let shrinkage = self.shrinkage.unwrap_or(0.0);
        let map = gaussian_map(narrow(&turned).view(), narrow(&place).view(), shrinkage)?;
        Ok(product(turn, &map.matrix)?)
    }

    /// Fits the entropic map from rotated unit rows to those of the reference, on samples if there are many.
    fn attention(&self, x: &Array2<f64>, y: &Array2<f64>, seed: u64) -> Result<EntropicMap> {
        let pick = |rows: &Array2<f64>| {
            rows.select(Axis(0), &subset(rows.nrows(), ATTENDED, seed)).mapv(|v| v as f32)
        };
        let (x, y) = (pick(x), pick(y));
        let cost = Cost::squared_euclidean(x.view(), y.view())?;
        let (mass, held) = (uniform(x.nrows()), uniform(y.nrows()));
        Ok(self.entropic().solve(&cost, &mass, &held)?.forward_map(y.view())?)
    }

    fn entropic(&self) -> Sinkhorn {
        Sinkhorn::of_mean_cost(self.eps_scale.unwrap_or(EPS_SCALE)).tolerance(1e-3)
    }

    /// Chooses both curves and k; returns the report of the search if there was one.
    fn choose(
        &self,
        views: &Views<'_>,
        parts: &[PartnerSplit; 2],
        context: FitContext<'_>,
    ) -> Result<(Vec<Curve>, usize, Option<SearchReport>)> {
        let given = resolve("curve", self.curve.as_ref(), &views.names())?;
        let known = distinct(&parts[0].known_rows);
        let all_known = parts.iter().all(|part| part.rest.is_empty());
        if known < ENOUGH && !all_known {
            let both = given.into_iter().map(|given| given.unwrap_or(SAFE.0)).collect();
            return Ok((both, self.dimensions.unwrap_or(SAFE.1), None));
        }
        let places = |at: usize| -> Vec<usize> {
            let is_known = |row: &usize| {
                parts[at].known_rows.binary_search(row).is_ok()
                    || views.validation().binary_search(row).is_ok()
            };
            let rows = &views.all()[at].rows;
            (0..rows.len()).filter(|place| is_known(&rows[*place])).collect()
        };
        let places = [places(0), places(1)];
        let items = [0, 1].map(|at| views.all()[at].items.select(Axis(0), &places[at]));
        let view = |at: usize| View {
            name: views.all()[at].name.clone(),
            blocks: views.all()[at].blocks.clone(),
            items: items[at].view(),
            rows: selected(&views.all()[at].rows, &places[at]),
        };
        let paired = Views::new(vec![view(0), view(1)], views.anchor(), views.validation().to_vec())?;
        let sizes = DimensionSearch { dimensions: self.dimensions, reference: views.reference() };
        let found = search(&sizes, &paired, &FeatureSpec::linear(&paired), &curves(&given), context)?;
        let items = parts.iter().map(|part| part.known.len() + part.rest.len()).min().unwrap_or(0);
        let most = axes(items).max(self.dimensions.unwrap_or(0));
        Ok((found.curves, found.ranked[0].min(most), found.report))
    }

    /// Returns the rotation after all iterations; without pairs, the one whose last plan has the least cost.
    fn rotation(&self, a: &PartnerClouds, b: &PartnerClouds, context: FitContext<'_>) -> Result<Array2<f64>> {
        let (first, second) = a.known.shared(&b.known);
        let pull = product(&first.t(), &second)?;
        if a.rest.is_empty() || b.rest.is_empty() {
            return polar(pull.view());
        }
        let starts = if first.is_empty() {
            rotations(&a.rest, &b.rest, context.seed)?
        } else {
            vec![polar(pull.view())?]
        };
        let mut best = (f64::INFINITY, Array2::zeros((0, 0)));
        for (turn, start) in starts.iter().enumerate() {
            let found = self.alternate(a, b, &pull, start, (turn, starts.len()), context)?;
            if found.0 < best.0 {
                best = found;
            }
        }
        Ok(best.1)
    }

    /// Alternates plan and rotation until the rotation converges; returns the last plan's cost and the
    /// rotation.
    fn alternate(
        &self,
        a: &PartnerClouds,
        b: &PartnerClouds,
        pull: &Array2<f64>,
        start: &Array2<f64>,
        (at, of): (usize, usize),
        context: FitContext<'_>,
    ) -> Result<(f64, Array2<f64>)> {
        let y = b.rest.mapv(|v| v as f32);
        let weighted = &a.rest * &a.weights.view().insert_axis(Axis(1));
        let masses = [&a.weights, &b.weights].map(|weights| (weights / weights.sum()).to_vec());
        let (mut turn, mut cost) = (start.clone(), 0.0);
        let (steps, weight) = (self.steps, self.weight);
        for step in 0..steps {
            if !(context.progress)((at * steps + step) as u64, (of * steps) as u64) {
                return Err(Error::Cancelled);
            }
            let turned = product(&a.rest, &turn)?.mapv(|v| v as f32);
            let (paid, targets) = self.targets(turned.view(), y.view(), &masses)?;
            cost = paid;
            let next = polar((product(&weighted.t(), &targets.mapv(f64::from))? * weight + pull).view())?;
            let moved = (&next - &turn).iter().map(|d| d * d).sum::<f64>().sqrt();
            turn = next;
            if moved < 1e-3 {
                break;
            }
        }
        Ok((cost, turn))
    }

    /// Returns the cost of the plan and the barycentric target of each item.
    fn targets(
        &self,
        x: ArrayView2<'_, f32>,
        y: ArrayView2<'_, f32>,
        [mass, held]: &[Vec<f64>; 2],
    ) -> Result<(f64, Array2<f32>)> {
        match self.solver {
            PlanSolver::Sinkhorn => {
                let cost = Cost::squared_euclidean(x, y)?;
                let coupling = self.entropic().solve(&cost, mass, held)?;
                Ok((coupling.report.transport_cost, coupling.barycentric(y)?))
            }
            PlanSolver::Emd => {
                let most = x.nrows().max(y.nrows());
                if most > MOST_EXACT {
                    let expected = format!("at most {MOST_EXACT} without a partner for solver = emd");
                    return Err(Error::data("items", expected, format!("{most}; set solver = sinkhorn")));
                }
                // For unit rows the assignment of least distance is that of most similarity.
                let cost = x.dot(&y.t()).mapv(|s| 1.0 - f64::from(s));
                let seconds = self.time_limit.unwrap_or(TIME_LIMIT);
                let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                let found = exact(cost.view(), mass, held, &SolverLimits::new(usize::MAX).time(time))?;
                let mut sums = Array2::zeros(x.dim());
                for &PlanEntry { source: i, target: j, mass: moved } in &found.entries {
                    sums.row_mut(i).scaled_add((moved / mass[i]) as f32, &y.row(j));
                }
                Ok((found.transport_cost, sums))
            }
        }
    }
}
