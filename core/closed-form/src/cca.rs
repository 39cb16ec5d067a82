//! Regularised canonical correlation of two or more modalities with correlation-weighted cosine.
//!
//! Finds the directions of all modalities that correlate most: those of canonical correlation for two
//! (Hotelling 1936; ridge: Vinod 1976), those of its maximum-variance generalisation for more (MAXVAR;
//! Kettenring 1971). The first k are kept, and each is weighted by its correlation to a power before the
//! cosine (Li, Ravikumar et al., CSA, arXiv 2410.07610). Ridges are relative to each modality's top variance.
//! Unless one setting is given, the best `members` settings of the inner cross-validation are joined into one
//! map, as [`crate::kcca`] does too.
//!
//! Rows may lack modalities (the setting of van de Velden and Takane 2012): the covariance of a modality is
//! that of all its items, the cross-covariance of two that of the rows that hold both, and two modalities
//! that no row holds together are taken as independent given a third one that links them. Several items of a
//! row count as one.
//!
//! ```
//! use chiasm_closed_form::cca::Cca;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).cos());
//! let fitted = Cca::params().ridge(0.1).dimensions(3_usize).fit(&Dataset::new(x, y))?;
//! assert_eq!(fitted.maps[0].output_dim(), fitted.maps[1].output_dim());
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```

use chiasm_parameters::{ParameterError, Parameters, PerModality};
use serde::{Deserialize, Serialize};

pub use crate::canonical::CcaSetting;
use crate::canonical::{CcaGrid, CcaProblem, check_settings};
use crate::features::FeatureSpec;
use crate::fitted::estimator;
use crate::per_modality::resolve;
use crate::search::curves;
use crate::source::{Source, of_moments};
use crate::{Curve, FitContext, Fitted, Result, Views};

/// Number of settings that are joined by default.
pub(crate) const MEMBERS: usize = 20;

/// Parameters of canonical correlation; those that are not set are chosen from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
#[parameters(builder, check = Self::check_together)]
pub struct CcaParams {
    /// What items go through before they are brought to length one.
    pub curve: Option<PerModality<Curve>>,
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
pub type Cca = Fitted<CcaParams>;

estimator!(CcaParams);
of_moments!(CcaParams);

impl CcaParams {
    /// The geometric means of the settings' ridges for the modalities of these names; `None` before a fit has
    /// chosen them.
    pub fn ridges(&self, names: &[&str]) -> Option<Vec<f64>> {
        let settings = self.settings.as_ref().filter(|settings| !settings.is_empty())?;
        let mean = |name: &&str| {
            let log = |setting: &CcaSetting| Some(setting.ridge.get(name)?.max(f64::MIN_POSITIVE).ln());
            let logs: Option<f64> = settings.iter().map(log).sum();
            Some((logs? / settings.len() as f64).exp())
        };
        names.iter().map(mean).collect()
    }
}

impl CcaParams {
    fn check_together(&self) -> std::result::Result<(), ParameterError> {
        let searched = self.ridge.is_some() || self.dimensions.is_some() || self.power.is_some();
        check_settings(self.settings.as_deref(), searched)
    }

    /// Fits on the items of two or more modalities.
    ///
    /// # Errors
    /// When a modality does not vary, no chain of rows links the modalities, or the caller asked to stop.
    fn fit_with(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<Cca> {
        self.fit_from(&Source::of(views), context)
    }

    fn fit_from(&self, source: &Source<'_, '_>, context: FitContext<'_>) -> Result<Cca> {
        let names = source.views.names();
        let found = CcaProblem {
            grid: CcaGrid {
                ridges: resolve("ridge", self.ridge.as_ref(), &names)?,
                dimensions: self.dimensions,
                power: self.power,
            },
            settings: self.settings.as_deref(),
            members: self.members,
            curves: source.curves(curves(&resolve("curve", self.curve.as_ref(), &names)?))?,
            specs: FeatureSpec::linear(source.views),
        }
        .solve(source, context)?;
        let parameters =
            Self { curve: Some(found.curves), settings: Some(found.settings), ..Self::default() };
        Ok(Fitted { maps: found.maps, parameters, report: found.report, unpaired: None })
    }
}
