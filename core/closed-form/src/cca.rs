//! Regularised canonical correlation analysis with correlation-weighted cosine.
//!
//! Finds the directions of both sides that correlate most (Hotelling 1936; ridge: Vinod 1976), keeps the first k and
//! weights each by its correlation to a power before the cosine (Li, Ravikumar et al., CSA, arXiv 2410.07610). Ridges
//! are relative to each side's top variance. Unless one setting is given, the best `members` settings of the inner
//! cross-validation are joined into one map, as [`crate::kcca`] does too; the sums are in this crate's `spectral`.

use serde::{Deserialize, Serialize};

use crate::pairs::estimator;
use crate::search::{Look, curves};
pub use crate::spectral::Setting;
use crate::spectral::{Grid, Task};
use crate::{Conduct, Curve, Fitted, Pairs, Result};

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
    /// Ridge of the source, relative to its top variance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ridge: Option<f64>,
    /// Ridge of the target, relative to its top variance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ridge: Option<f64>,
    /// Canonical directions kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Power of the correlation that weights each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// How many of the best settings are joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// The very settings to join; excludes the five above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Vec<Setting>>,
}

estimator!(CcaParams, Cca);

impl CcaParams {
    /// The geometric means of the settings' ridges, source and target; `None` before a fit has chosen them.
    pub fn ridges(&self) -> Option<[f64; 2]> {
        let settings = self.0.settings.as_ref().filter(|settings| !settings.is_empty())?;
        let mean = |of: fn(&Setting) -> f64| {
            let logs: f64 = settings.iter().map(|setting| of(setting).max(f64::MIN_POSITIVE).ln()).sum();
            (logs / settings.len() as f64).exp()
        };
        Some([mean(|s| s.source_ridge), mean(|s| s.target_ridge)])
    }
}

impl Cca {
    fn check(&self) -> Result<()> {
        self.grid().check(self.settings.as_deref(), self.members)
    }

    fn grid(&self) -> Grid {
        Grid {
            source_ridge: self.source_ridge,
            target_ridge: self.target_ridge,
            dimensions: self.dimensions,
            power: self.power,
        }
    }

    /// Fits on paired rows.
    ///
    /// # Errors
    /// When a side does not vary, blocks do not add up, or the caller asked to stop.
    pub fn fit_with(&self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Fitted<CcaParams>> {
        self.check()?;
        let look = |side, blocks| Look { side, blocks, kernel: None };
        let done = Task {
            grid: self.grid(),
            settings: self.settings.as_deref(),
            members: self.members.unwrap_or(MEMBERS),
            curves: [curves(self.source_curve), curves(self.target_curve)],
            looks: [
                look("source", self.source_blocks.as_deref()),
                look("target", self.target_blocks.as_deref()),
            ],
        }
        .fit(pairs, conduct)?;
        let [source, target] = done.sides;
        let parameters = Self {
            source_curve: Some(done.curves[0]),
            target_curve: Some(done.curves[1]),
            source_blocks: self.source_blocks.clone(),
            target_blocks: self.target_blocks.clone(),
            settings: Some(done.settings),
            ..Self::default()
        };
        Ok(Fitted { source, target, parameters: parameters.into(), report: done.report })
    }
}
