//! Canonical correlation in the feature space of a radial kernel.
//!
//! Each side is first seen through k(x, l) = exp(-width |x - l|² / s) against its training rows, averaged over a few
//! widths, s their mean squared distance (kernel CCA: Lai and Fyfe 2000; Bach and Jordan 2002); then everything is as in [`crate::cca`]. As a graph
//! this is one layer of distances to the landmarks and one matrix. Above `landmarks` rows a seeded subset serves as
//! landmarks (Nystroem), so the cost stays that of `landmarks`³. There is no inverse.

use serde::{Deserialize, Serialize};

use crate::cca::MEMBERS;
use crate::error::check;
use crate::pairs::estimator;
use crate::search::{Landmarks, Look, curves};
pub use crate::spectral::Setting;
use crate::spectral::{Grid, Task};
use crate::{Conduct, Curve, Fitted, Pairs, Result};

/// Landmarks at most when not given.
pub const LANDMARKS: usize = 2000;
/// Widths whose kernels are averaged when not given: wide kernels are nearly linear, narrow ones remember.
pub const WIDTHS: [f64; 3] = [0.35, 0.7, 1.4];

/// Parameters of kernel canonical correlation, not checked yet; whatever is absent is chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KccaParams(Kcca);

/// Checked parameters of kernel canonical correlation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kcca {
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
    /// Widths of the source kernels, over the mean squared distance; their kernels are averaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_widths: Option<Vec<f64>>,
    /// Widths of the target kernels, over the mean squared distance; their kernels are averaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_widths: Option<Vec<f64>>,
    /// Training rows that serve as landmarks, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landmarks: Option<usize>,
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

estimator!(KccaParams, Kcca);

impl Kcca {
    fn check(&self) -> Result<()> {
        for (name, widths) in [("source_widths", &self.source_widths), ("target_widths", &self.target_widths)]
        {
            let good = |list: &Vec<f64>| !list.is_empty() && list.iter().all(|&w| w > 0.0 && w <= 1000.0);
            check(name, widths, "a list of numbers above 0, at most 1000", good)?;
        }
        check("landmarks", &self.landmarks, "2 to 20000", |m| (2..=20_000).contains(m))?;
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
    pub fn fit_with(&self, pairs: Pairs<'_>, conduct: Conduct<'_>) -> Result<Fitted<KccaParams>> {
        self.check()?;
        let landmarks = self.landmarks.unwrap_or(LANDMARKS);
        let look = |side, blocks, widths| {
            let kernel = Some(Landmarks { widths, most: landmarks, seed: conduct.seed });
            Look { side, blocks, kernel }
        };
        let widths = |given: &Option<Vec<f64>>| given.clone().unwrap_or_else(|| WIDTHS.to_vec());
        let widths = [widths(&self.source_widths), widths(&self.target_widths)];
        let done = Task {
            grid: self.grid(),
            settings: self.settings.as_deref(),
            members: self.members.unwrap_or(MEMBERS),
            curves: [curves(self.source_curve), curves(self.target_curve)],
            looks: [
                look("source", self.source_blocks.as_deref(), &widths[0]),
                look("target", self.target_blocks.as_deref(), &widths[1]),
            ],
        }
        .fit(pairs, conduct)?;
        let [source, target] = done.sides;
        let [source_widths, target_widths] = widths.map(Some);
        let parameters = Self {
            source_curve: Some(done.curves[0]),
            target_curve: Some(done.curves[1]),
            source_blocks: self.source_blocks.clone(),
            target_blocks: self.target_blocks.clone(),
            source_widths,
            target_widths,
            landmarks: Some(landmarks),
            settings: Some(done.settings),
            ..Self::default()
        };
        Ok(Fitted { source, target, parameters: parameters.into(), report: done.report })
    }
}
