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
//! Items without a partner can hurt: their plan pulls the rotation away from what enough pairs determine, and
//! their principal coordinates are not those in which a few pairs are matched best. With ten pairs or more,
//! the iteration and [`crate::procrustes`] are therefore fitted on four fifths of the pairs and compared on
//! the rest, and Procrustes of the pairs alone is used if it wins (steps = 0). The other kinds of maps below
//! are compared with the first rotation. A fit without pairs has no such test. It is repeated on two halves
//! of the items, and says so if the halves disagree.
//!
//! A rotated item is then mapped in one of four ways. *Orthogonal*: not at all; distances are kept.
//! *Gaussian*: the optimal affine map between the Gaussians of both clouds (Knott and Smith 1984), which
//! also matches the spread along every axis; it is linear, so it has an exact inverse. *Attention*: the
//! entropic map T(x) = Σ_j softmax_j((2 x·b_j + g_j) / ε) b_j (Pooladian and Niles-Weed 2021, arXiv
//! 2109.12004), g the dual potential of a plan between both clouds. Each item is mapped to a mean of likely
//! items, so there is no inverse. *Canonical*: canonical correlations under the plan. Coordinates are
//! whitened with a ridge of their mean variance, C = U S Vᵀ is the covariance of both modalities under the
//! plan (and the pairs), and each image is that of U or V with every coordinate multiplied by its
//! correlation. Without pairs the plan is not that of the iteration: it compares the distances within each
//! modality, whose kind is chosen by the objective of `matching.rs`. Where two modalities agree in few
//! directions, such as the stage of a cell, this was the best of the four.
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

use chiasm_geometry::linalg::product;
use chiasm_parameters::{Choice, ParameterError, Parameters, PerModality};
use chiasm_transport::{Cost, EntropicMap, gaussian_map, uniform};
use ndarray::{Array2, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::alternation::Alternation;
pub use crate::alternation::PlanSolver;
use crate::basis::columns;
use crate::correlated::correlated;
use crate::features::FeatureSpec;
use crate::fitted::estimator;
use crate::held_out::PairsAlone;
use crate::partner_fit::PartnerFit;
use crate::partners::{KnownPairs, PartnerClouds, PartnerSplit};
use crate::per_modality::resolve;
use crate::prepared::{Prepared, fold_view};
use crate::procrustes::{DimensionSearch, ProcrustesParams, images_of_fold};
use crate::sample::{axes, distinct, subset};
use crate::search::{SearchReport, curves, search};
use crate::{Curve, Error, FitContext, Fitted, Map, Method, Result, Views};

/// The smallest number of known pairs by which curves and k are chosen.
const ENOUGH: usize = 100;
/// The curve and k with fewer pairs.
const SAFE: (Curve, usize) = (Curve::Unit, 48);
const WEIGHT: f64 = 0.1;
const STEPS: usize = 20;
/// The largest number of items that an entropic map attends to; the exported layer stores them.
const ATTENDED: usize = 4096;
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
    /// Canonical correlations under the plan, by which coordinates are weighted.
    Canonical,
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
    /// The largest number of turns, each a transport plan and a rotation; 0 uses the pairs alone, as
    /// Procrustes does.
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
        let with_procrustes = self.map == MapKind::Orthogonal && !parts[0].known.is_empty();
        if with_procrustes && self.steps == 0 {
            return self.pairs_alone(views, &parts, self.curve.clone(), context);
        }
        let (curves, k, report) = self.choose(views, &parts, context)?;
        let specs = FeatureSpec::linear(views);
        let open =
            |at: usize| Prepared::of(&views.all()[at], specs[at], curves[at], &parts[at].places(), |_| k);
        let (first, second) = rayon::join(|| open(0), || open(1));
        let prepared = [first?, second?];
        let limit = k;
        let k = k.min(prepared[0].basis.rank()).min(prepared[1].basis.rank());
        let (to, from) = (views.reference(), 1 - views.reference());
        let clouds = |at: usize| PartnerClouds::of(&prepared[at], &parts[at], k);
        let (a, b) = (clouds(from), clouds(to));
        // Their distances are compared only where no pair is known.
        let compared = |at: usize| if parts[at].known.is_empty() { &parts[at].rest[..] } else { &[] };
        let items = [from, to].map(|at| views.all()[at].items.select(Axis(0), compared(at)));
        let searched = report.as_ref().map(|_| limit).or(self.dimensions);
        let fold =
            |train: &[usize], test: &[usize]| held_out(views, &parts, &curves, searched, (train, test));
        let pairs_alone: Option<PairsAlone<'_>> = if with_procrustes { Some(&fold) } else { None };
        let fit = PartnerFit { alternation: self.alternation(), a: &a, b: &b, pairs_alone, items, context };
        // Canonical correlations use all coordinates of either modality.
        let kept = if self.map == MapKind::Canonical { limit } else { k };
        let parameters =
            Self { curve: Some(PerModality::each(&names, &curves)), dimensions: Some(kept), ..self.clone() };
        if self.map == MapKind::Canonical {
            let (cross, unpaired) = fit.covariance([&prepared[from], &prepared[to]])?;
            let [source, target] = correlated([&prepared[from].basis, &prepared[to].basis], &cross, k)?;
            let weights = if from == 0 { [source, target] } else { [target, source] };
            let maps = prepared.into_iter().zip(&weights).map(|(view, weights)| view.map(weights));
            return Ok(Fitted { maps: maps.collect::<Result<_>>()?, parameters, report, unpaired });
        }
        let (mut turn, unpaired) = fit.rotation()?;
        if with_procrustes && unpaired.as_ref().is_some_and(|report| !report.used) {
            let alone = self.pairs_alone(views, &parts, parameters.curve, context)?;
            return Ok(Fitted { unpaired, ..alone });
        }
        let mut attention = None;
        match self.map {
            MapKind::Orthogonal | MapKind::Canonical => {}
            MapKind::Gaussian => turn = self.stretched(&turn, &prepared[from], &prepared[to], k)?,
            MapKind::Attention => {
                attention = Some(self.attention(&product(&a.all, &turn)?, &b.all, context.seed)?);
            }
        }
        let maps = turned(prepared, from, &turn, attention)?;
        Ok(Fitted { maps, parameters, report, unpaired })
    }

    /// Fits on the known pairs alone: Procrustes, as if there were no other items.
    fn pairs_alone(
        &self,
        views: &Views<'_>,
        parts: &[PartnerSplit; 2],
        curve: Option<PerModality<Curve>>,
        context: FitContext<'_>,
    ) -> Result<OtMap> {
        let known = KnownPairs::of(views, parts);
        let alone = ProcrustesParams { curve, dimensions: self.dimensions };
        let Fitted { maps, parameters, report, unpaired } = alone.fit_views(&known.views(views)?, context)?;
        let ProcrustesParams { curve, dimensions } = parameters;
        Ok(Fitted {
            maps,
            parameters: Self { curve, dimensions, steps: 0, ..self.clone() },
            report,
            unpaired,
        })
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
        Ok(self.alternation().entropic().solve(&cost, &mass, &held)?.forward_map(y.view())?)
    }

    fn alternation(&self) -> Alternation {
        Alternation {
            solver: self.solver,
            eps_scale: self.eps_scale,
            weight: self.weight,
            steps: self.steps,
            time_limit: self.time_limit,
        }
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
        let pairs = KnownPairs::of(views, parts);
        let paired = pairs.views(views)?;
        let sizes =
            DimensionSearch { dimensions: self.dimensions, reference: views.reference(), rows: known };
        let found = search(&sizes, &paired, &FeatureSpec::linear(&paired), &curves(&given), context)?;
        let items = parts.iter().map(|part| part.known.len() + part.rest.len()).min().unwrap_or(0);
        let most = axes(items).max(self.dimensions.unwrap_or(0));
        Ok((found.curves, found.ranked[0].min(most), found.report))
    }
}

/// Returns the maps of both modalities: that of `from` turns its coordinates, and is followed by an entropic
/// map if there is one.
fn turned(
    prepared: [Prepared; 2],
    from: usize,
    turn: &Array2<f64>,
    mut attention: Option<EntropicMap>,
) -> Result<Vec<Map>> {
    let k = turn.ncols();
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
    Ok(maps)
}

/// Returns the images of pairs that were held out, and of the items without a partner, under Procrustes of
/// other pairs; those of the modality that is turned come first.
fn held_out(
    views: &Views<'_>,
    parts: &[PartnerSplit; 2],
    curves: &[Curve],
    k: Option<usize>,
    (train, test): (&[usize], &[usize]),
) -> Result<[Array2<f64>; 2]> {
    let specs = FeatureSpec::linear(views);
    let view = |at: usize| {
        let (train, test) = parts[at].fold(train, test);
        fold_view(&views.all()[at], specs[at], curves[at], &train, &test)
    };
    let [first, second] = images_of_fold([&view(0)?, &view(1)?], k, views.reference())?;
    Ok(if views.reference() == 1 { [first, second] } else { [second, first] })
}
