//! Canonical correlation in the feature space of a radial kernel.
//!
//! Each item x is first mapped to the values k(x, l) = exp(-width |x - l|² / s) for all training items l,
//! averaged over a few widths; s is the mean squared distance of the training items (kernel CCA: Lai and
//! Fyfe 2000; Bach and Jordan 2002); then everything is as in [`crate::cca`]. As a graph this is one layer
//! of distances to the landmarks and one matrix. Above `landmarks` items a seeded subset serves as landmarks
//! (Nystroem), so the cost stays that of `landmarks`³. There is no inverse.
//!
//! ```
//! use chiasm_closed_form::kcca::Kcca;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).cos());
//! let fitted = Kcca::params().ridge(0.1).landmarks(20_usize).fit(&Dataset::new(x, y))?;
//! assert_eq!((fitted.maps[0].input_dim(), fitted.maps[1].input_dim()), (6, 4));
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_parameters::{ParameterError, Parameters, PerModality};
use serde::{Deserialize, Serialize};

pub use crate::canonical::CcaSetting;
use crate::canonical::{CcaGrid, CcaProblem, check_settings};
use crate::cca::MEMBERS;
use crate::features::{FeatureSpec, Landmarks};
use crate::fitted::estimator;
use crate::per_modality::resolve;
use crate::search::curves;
use crate::source::Source;
use crate::{Curve, FitContext, Fitted, Result, Views};

/// The largest number of landmarks when not given.
pub const LANDMARKS: usize = 2000;
/// Widths of the averaged kernels when not given. Wide kernels are nearly linear, narrow ones fit single
/// items.
pub const WIDTHS: [f64; 3] = [0.35, 0.7, 1.4];

/// Parameters of kernel canonical correlation; those that are not set are chosen from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
#[parameters(builder, check = Self::check_together)]
pub struct KccaParams {
    /// What items go through before they are brought to length one.
    pub curve: Option<PerModality<Curve>>,
    /// Widths of the kernels, divided by the mean squared distance; the kernels are averaged.
    #[parameter(default = Some(WIDTHS.to_vec().into()), above = 0, range = ..=1000)]
    pub widths: Option<PerModality<Vec<f64>>>,
    /// The largest number of training items of a modality that serve as landmarks.
    #[parameter(default = LANDMARKS, range = 2..=20_000)]
    pub landmarks: usize,
    /// Ridge relative to the largest variance of the modality.
    #[parameter(range = 0..=1000)]
    pub ridge: Option<PerModality<f64>>,
    /// Number of canonical directions kept.
    #[parameter(range = 1..)]
    pub dimensions: Option<usize>,
    /// Power of the correlation that weights each direction.
    #[parameter(range = 0..=10)]
    pub power: Option<f64>,
    /// Number of the best settings that are joined into one map.
    #[parameter(default = MEMBERS, range = 1..=450)]
    pub members: usize,
    /// The settings to join, instead of a search: excludes ridge, dimensions and power.
    pub settings: Option<Vec<CcaSetting>>,
}

/// The maps of a fit, and how they were found.
pub type Kcca = Fitted<KccaParams>;

estimator!(KccaParams);

impl KccaParams {
    fn check_together(&self) -> std::result::Result<(), ParameterError> {
        if self.widths.iter().flat_map(PerModality::values).any(Vec::is_empty) {
            return Err(ParameterError::new("widths", "at least one width", "an empty list"));
        }
        let searched = self.ridge.is_some() || self.dimensions.is_some() || self.power.is_some();
        check_settings(self.settings.as_deref(), searched)
    }

    /// Fits on the items of two or more modalities.
    ///
    /// # Errors
    /// When a modality does not vary, no chain of rows links the modalities, or the caller asked to stop.
    fn fit_with(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<Kcca> {
        let names = views.names();
        let most = self.landmarks;
        let widths: Vec<Vec<f64>> = resolve("widths", self.widths.as_ref(), &names)?
            .into_iter()
            .map(|given| given.unwrap_or_else(|| WIDTHS.to_vec()))
            .collect();
        let mut specs = FeatureSpec::linear(views);
        for (spec, widths) in specs.iter_mut().zip(&widths) {
            spec.kernel = Some(Landmarks { widths, most, seed: context.seed });
        }
        let found = CcaProblem {
            grid: CcaGrid {
                ridges: resolve("ridge", self.ridge.as_ref(), &names)?,
                dimensions: self.dimensions,
                power: self.power,
            },
            settings: self.settings.as_deref(),
            members: self.members,
            curves: curves(&resolve("curve", self.curve.as_ref(), &names)?),
            specs,
        }
        .solve(&Source::of(views), context)?;
        let parameters = Self {
            curve: Some(found.curves),
            widths: Some(PerModality::each(&names, &widths)),
            landmarks: most,
            settings: Some(found.settings),
            ..Self::default()
        };
        Ok(Fitted { maps: found.maps, parameters, report: found.report, unpaired: None })
    }
}
