//! Canonical correlation in the feature space of a radial kernel.
//!
//! Each modality is first seen through k(x, l) = exp(-width |x - l|² / s) against its training items,
//! averaged over a few widths, s their mean squared distance (kernel CCA: Lai and Fyfe 2000; Bach and Jordan
//! 2002); then everything is as in [`crate::cca`]. As a graph this is one layer of distances to the landmarks
//! and one matrix. Above `landmarks` items a seeded subset serves as landmarks (Nystroem), so the cost stays
//! that of `landmarks`³. There is no inverse.

use serde::{Deserialize, Serialize};

pub use crate::canonical::Setting;
use crate::canonical::{Grid, Problem, check_grid};
use crate::cca::MEMBERS;
use crate::error::check;
use crate::features::{FeatureSpec, Landmarks};
use crate::fitted::estimator;
use crate::per_modality::{PerModality, check_each, resolve};
use crate::search::curves;
use crate::{Curve, FitContext, Fitted, Result, Views};

/// Landmarks at most when not given.
pub const LANDMARKS: usize = 2000;
/// Widths whose kernels are averaged when not given: wide kernels are nearly linear, narrow ones fit single
/// items.
pub const WIDTHS: [f64; 3] = [0.35, 0.7, 1.4];

/// Parameters of kernel canonical correlation, not checked yet; whatever is absent is chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KccaParams(Kcca);

/// Checked parameters of kernel canonical correlation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kcca {
    /// What items go through first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<PerModality<Curve>>,
    /// Widths of the kernels, over the mean squared distance; their kernels are averaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub widths: Option<PerModality<Vec<f64>>>,
    /// Training items of a modality that serve as landmarks, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landmarks: Option<usize>,
    /// Ridge relative to the top variance of the modality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ridge: Option<PerModality<f64>>,
    /// Canonical directions kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Power of the correlation that weights each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// How many of the best settings are joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// The very settings to join; excludes the four above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Vec<Setting>>,
}

estimator!(KccaParams, Kcca);

impl Kcca {
    fn check(&self) -> Result<()> {
        let good = |list: &Vec<f64>| !list.is_empty() && list.iter().all(|&w| w > 0.0 && w <= 1000.0);
        check_each("widths", self.widths.as_ref(), "a list of numbers above 0, at most 1000", good)?;
        check("landmarks", &self.landmarks, "2 to 20000", |m| (2..=20_000).contains(m))?;
        let settings = self.settings.as_deref();
        check_grid(self.ridge.as_ref(), self.dimensions, self.power, self.members, settings)
    }

    /// Fits on the items of two or more modalities.
    ///
    /// # Errors
    /// When a modality does not vary, no chain of rows links the modalities, or the caller asked to stop.
    pub fn fit_with(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<Fitted<KccaParams>> {
        self.check()?;
        let names = views.names();
        let most = self.landmarks.unwrap_or(LANDMARKS);
        let widths: Vec<Vec<f64>> = resolve("widths", self.widths.as_ref(), &names)?
            .into_iter()
            .map(|given| given.unwrap_or_else(|| WIDTHS.to_vec()))
            .collect();
        let mut specs = FeatureSpec::linear(views);
        for (spec, widths) in specs.iter_mut().zip(&widths) {
            spec.kernel = Some(Landmarks { widths, most, seed: context.seed });
        }
        let found = Problem {
            grid: Grid {
                ridges: resolve("ridge", self.ridge.as_ref(), &names)?,
                dimensions: self.dimensions,
                power: self.power,
            },
            settings: self.settings.as_deref(),
            members: self.members.unwrap_or(MEMBERS),
            curves: curves(&resolve("curve", self.curve.as_ref(), &names)?),
            specs,
        }
        .solve(views, context)?;
        let parameters = Self {
            curve: Some(found.curves),
            widths: Some(PerModality::each(&names, &widths)),
            landmarks: Some(most),
            settings: Some(found.settings),
            ..Self::default()
        };
        Ok(Fitted { maps: found.maps, parameters: parameters.into(), report: found.report })
    }
}
