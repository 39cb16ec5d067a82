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

use serde::{Deserialize, Serialize};

pub use crate::canonical::Setting;
use crate::canonical::{Grid, Problem, check_grid};
use crate::features::FeatureSpec;
use crate::fitted::estimator;
use crate::per_modality::{PerModality, resolve};
use crate::search::curves;
use crate::{Curve, FitContext, Fitted, Result, Views};

/// Settings joined when not given.
pub const MEMBERS: usize = 20;

/// Parameters of canonical correlation, not checked yet; whatever is absent is chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CcaParams(Cca);

/// Checked parameters of canonical correlation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cca {
    /// What items go through first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<PerModality<Curve>>,
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

estimator!(CcaParams, Cca);

impl CcaParams {
    /// The geometric means of the settings' ridges for the modalities of these names; `None` before a fit has
    /// chosen them.
    pub fn ridges(&self, names: &[&str]) -> Option<Vec<f64>> {
        let settings = self.0.settings.as_ref().filter(|settings| !settings.is_empty())?;
        let mean = |name: &&str| {
            let log = |setting: &Setting| Some(setting.ridge.get(name)?.max(f64::MIN_POSITIVE).ln());
            let logs: Option<f64> = settings.iter().map(log).sum();
            Some((logs? / settings.len() as f64).exp())
        };
        names.iter().map(mean).collect()
    }
}

impl Cca {
    fn check(&self) -> Result<()> {
        let settings = self.settings.as_deref();
        check_grid(self.ridge.as_ref(), self.dimensions, self.power, self.members, settings)
    }

    /// Fits on the items of two or more modalities.
    ///
    /// # Errors
    /// When a modality does not vary, no chain of rows links the modalities, or the caller asked to stop.
    pub fn fit_with(&self, views: &Views<'_>, context: FitContext<'_>) -> Result<Fitted<CcaParams>> {
        self.check()?;
        let names = views.names();
        let found = Problem {
            grid: Grid {
                ridges: resolve("ridge", self.ridge.as_ref(), &names)?,
                dimensions: self.dimensions,
                power: self.power,
            },
            settings: self.settings.as_deref(),
            members: self.members.unwrap_or(MEMBERS),
            curves: curves(&resolve("curve", self.curve.as_ref(), &names)?),
            specs: FeatureSpec::linear(views),
        }
        .solve(views, context)?;
        let parameters =
            Self { curve: Some(found.curves), settings: Some(found.settings), ..Self::default() };
        Ok(Fitted { maps: found.maps, parameters: parameters.into(), report: found.report })
    }
}
