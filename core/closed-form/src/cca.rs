//! Regularised canonical correlation analysis with correlation-weighted cosine.

use serde::{Deserialize, Serialize};

use crate::fitted::estimator;
pub use crate::spectral::Setting;
use crate::per_modality::PerModality;
use crate::{Curve, Error, FitContext, Fitted, Result, Views};

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
    /// The geometric means of the settings' ridges by modality, in the order of the views; `None` before a fit has
    /// chosen them.
    pub fn ridges(&self, names: &[&str]) -> Option<Vec<f64>> {
        let settings = self.0.settings.as_ref().filter(|settings| !settings.is_empty())?;
        let mean = |name: &&str| {
            let logs = settings.iter().map(|setting| Some(setting.ridge.get(name)?.max(f64::MIN_POSITIVE).ln()));
            Some((logs.sum::<Option<f64>>()? / settings.len() as f64).exp())
        };
        names.iter().map(mean).collect()
    }
}

impl Cca {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Fits on the items of two or more modalities.
    ///
    /// # Errors
    /// When a modality does not vary, no chain of rows links the modalities, or the caller asked to stop.
    pub fn fit_with(&self, views: &Views<'_>, _context: FitContext<'_>) -> Result<Fitted<CcaParams>> {
        views.check_linked()?;
        Err(Error::Cancelled)
    }
}
