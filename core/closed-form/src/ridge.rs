//! Ridge regression of every other modality on one, whose space is the shared one.
//!
//! With A the centred regressors and B the centred responses, W = (AᵀA + n r w₁ I)⁻¹ AᵀB, the ridge r
//! relative to the regressors' top variance w₁ (Hoerl and Kennard 1970). The score is the cosine between
//! prediction and response, or of two predictions. The result depends on which modality is predicted,
//! because predictions become hubs. So both directions are tried if there are two modalities and no anchor.
//! A modality that shares no row with the predicted one is mapped through a third modality, by two
//! regressions in turn.
//!
//! ```
//! use chiasm_closed_form::ridge::Ridge;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).cos());
//! let fitted = Ridge::params().ridge(0.1).onto("first").fit(&Dataset::new(x, y))?;
//! assert_eq!(fitted.maps[1].output_dim(), 6);
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_geometry::linalg::{product, unit_rows};
use chiasm_parameters::{Parameters, PerModality};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::basis::{Basis, damped};
use crate::crosses::CrossCovariances;
use crate::features::FeatureSpec;
use crate::fitted::estimator;
use crate::per_modality::resolve;
use crate::sample::RowMeans;
use crate::search::{Fold, SearchMethod, Tick, curves, search};
use crate::source::{Source, of_moments};
use crate::{Curve, Error, FitContext, Fitted, Result, Views};

const RIDGES: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
const QUICK: [f64; 3] = [0.01, 0.1, 1.0];

/// Parameters of ridge regression; those that are not set are chosen from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
#[parameters(builder)]
pub struct RidgeParams {
    /// What items go through before they are brought to length one.
    pub curve: Option<PerModality<Curve>>,
    /// The modality that is predicted from the others. When not set: the anchor, the better one of two
    /// modalities, or the last one.
    pub onto: Option<String>,
    /// Ridge relative to the largest variance of the modality that predicts.
    #[parameter(range = 0..=1000)]
    pub ridge: Option<PerModality<f64>>,
}

/// The maps of a fit, and how they were found.
pub type Ridge = Fitted<RidgeParams>;

estimator!(RidgeParams);
of_moments!(RidgeParams);

/// The search over the predicted modality and the ridges.
struct RidgeGrid {
    /// Places of the modalities that may be predicted.
    onto: Vec<usize>,
    /// The ridges given, by modality.
    ridges: Vec<Option<f64>>,
}

/// One candidate.
#[derive(Debug, Clone)]
struct RidgeCandidate {
    onto: usize,
    /// By modality; that of the predicted one is not used.
    ridges: Vec<f64>,
}

impl RidgeParams {
    /// The modalities that may be predicted.
    fn predicted(&self, views: &Views<'_>) -> Result<Vec<usize>> {
        let names = views.names();
        match &self.onto {
            Some(onto) => match names.iter().position(|name| name == onto) {
                Some(place) => Ok(vec![place]),
                None => {
                    let expected = format!("a modality among {}", names.join(", "));
                    Err(Error::data("parameter `onto`", expected, format!("`{onto}`")))
                }
            },
            None if views.count() == 2 && views.anchor().is_none() => Ok(vec![1, 0]),
            None => Ok(vec![views.reference()]),
        }
    }

    /// Fits on the items of two or more modalities.
    ///
    /// # Errors
    /// When a modality does not vary, no chain of rows links the modalities, or the caller asked to stop.
    fn fit_with(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<Ridge> {
        self.fit_from(&Source::of(views), context)
    }

    fn fit_from(&self, source: &Source<'_, '_>, context: FitContext<'_>) -> Result<Ridge> {
        let views = source.views;
        views.check_linked()?;
        let names = views.names();
        let specs = FeatureSpec::linear(views);
        let candidates = source.curves(curves(&resolve("curve", self.curve.as_ref(), &names)?))?;
        let grid = RidgeGrid {
            onto: self.predicted(views)?,
            ridges: resolve("ridge", self.ridge.as_ref(), &names)?,
        };
        let mut found = search(&grid, views, &specs, &candidates, context)?;
        let RidgeCandidate { onto, ridges } = found.ranked.swap_remove(0);
        // all axes are kept, so that predictions span the space of the predicted modality and can be inverted
        let summary = source.summary(&specs, &found.curves, |_| usize::MAX)?;
        let bases: Vec<&Basis> = summary.bases.iter().collect();
        let weights = weights(&bases, &summary.crosses, onto, &ridges)?;
        // the shared space is the centred space of the predicted encoder, not its principal coordinates
        let axes = summary.bases[onto].axes.t().to_owned();
        let turned = |inner: Option<Array2<f64>>| inner.map(|inner| product(&inner, &axes)).transpose();
        let weights = weights.into_iter().map(turned).collect::<std::result::Result<Vec<_>, _>>()?;
        let maps = summary.maps(weights)?;
        let used = |(at, name): (usize, &&str)| (at != onto).then(|| ((*name).to_owned(), ridges[at]));
        let parameters = Self {
            curve: Some(PerModality::each(&names, &found.curves)),
            onto: Some(names[onto].to_owned()),
            ridge: Some(PerModality::Each(names.iter().enumerate().filter_map(used).collect())),
        };
        Ok(Fitted { maps, parameters, report: found.report, unpaired: None })
    }
}

impl RidgeGrid {
    fn point(&self, onto: usize, ridges: impl Fn(usize) -> f64) -> RidgeCandidate {
        let ridge = |at: usize| if at == onto { 0.0 } else { self.ridges[at].unwrap_or_else(|| ridges(at)) };
        RidgeCandidate { onto, ridges: (0..self.ridges.len()).map(ridge).collect() }
    }
}

impl SearchMethod for RidgeGrid {
    type Candidate = RidgeCandidate;

    fn candidates(&self, _ranks: &[usize], quick: bool) -> Vec<RidgeCandidate> {
        let list: &[f64] = if quick { &QUICK } else { &RIDGES };
        let mut points = Vec::new();
        for &onto in &self.onto {
            points.extend(list.iter().map(|&ridge| self.point(onto, |_| ridge)));
        }
        points.dedup_by(|a, b| a.onto == b.onto && a.ridges == b.ridges);
        points
    }

    /// Varies the best ridges in one predicting modality at a time, if there are several.
    fn refinements(&self, _ranks: &[usize], best: &RidgeCandidate) -> Vec<RidgeCandidate> {
        let free: Vec<usize> =
            (0..self.ridges.len()).filter(|&at| at != best.onto && self.ridges[at].is_none()).collect();
        if free.len() < 2 {
            return Vec::new();
        }
        let varied = |at: usize| {
            let others = RIDGES.into_iter().filter(move |ridge| *ridge != best.ridges[at]);
            others.map(move |ridge| {
                self.point(best.onto, |other| if other == at { ridge } else { best.ridges[other] })
            })
        };
        free.into_iter().flat_map(varied).collect()
    }

    fn scores(&self, fold: &Fold<'_>, candidates: &[RidgeCandidate], tick: Tick<'_>) -> Result<Vec<f64>> {
        let bases: Vec<&Basis> = fold.views.iter().map(|view| &view.basis).collect();
        let means: Vec<RowMeans> =
            fold.views.iter().map(|view| RowMeans::of(view.train.clone(), &view.rows)).collect();
        let crosses = CrossCovariances::of(&means, fold.anchor)?;
        let mut out = Vec::with_capacity(candidates.len());
        for point in candidates {
            tick()?;
            let weights = weights(&bases, &crosses, point.onto, &point.ridges)?;
            let image = |(view, weights): (&&crate::prepared::FoldView, Option<Array2<f64>>)| {
                let image = match weights {
                    Some(weights) => product(&view.test, &weights)?,
                    None => view.test.clone(),
                };
                Ok(unit_rows(image))
            };
            let images: Vec<_> = fold.views.iter().zip(weights).map(image).collect::<Result<_>>()?;
            out.push(fold.criterion(&images)?);
        }
        Ok(out)
    }
}

/// (w + ridge w₁)⁻¹ E[a bᵀ] in principal coordinates for every a but the predicted b.
fn weights(
    bases: &[&Basis],
    crosses: &CrossCovariances,
    onto: usize,
    ridges: &[f64],
) -> Result<Vec<Option<Array2<f64>>>> {
    let damped: Vec<Array1<f64>> =
        bases.iter().zip(ridges).map(|(basis, &ridge)| damped(&basis.variances, ridge)).collect();
    let of = |at: usize| -> Result<Option<Array2<f64>>> {
        if at == onto {
            return Ok(None);
        }
        Ok(Some(crosses.get(at, onto, &damped)? / damped[at].view().insert_axis(Axis(1))))
    };
    (0..bases.len()).map(of).collect()
}
