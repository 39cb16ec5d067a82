//! The parameters of the mlp aligner.

use chiasm_closed_form::cca::CcaParams;
use chiasm_plugin::{Choice, Parameters, PerModality};
use serde::{Deserialize, Serialize};

/// The loss of a pair of modalities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Choice)]
#[serde(rename_all = "lowercase")]
pub enum MlpLoss {
    /// Contrasts each pair with the other pairs of the mini-batch, both ways (van den Oord et al. 2018).
    Infonce,
    /// Decides for each pair alone whether it belongs together (Zhai et al. 2023).
    Siglip,
    /// The mean squared distance of the items of a pair.
    Mse,
}

/// The parameters of the mlp aligner; those that are not set are chosen.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
pub struct MlpParameters {
    /// The loss of a pair of modalities.
    #[parameter(default = MlpLoss::Infonce)]
    pub loss: MlpLoss,
    /// The temperature at the first step; it is learned.
    #[parameter(default = 0.05, range = 1e-3..=10)]
    pub temperature: f64,
    /// Hidden units of each network; 0 for a linear map.
    #[parameter(default = 256, range = 0..=65_536)]
    pub hidden: usize,
    /// Number of networks that are trained from different seeds; their scores are averaged.
    #[parameter(default = 2, range = 1..=64)]
    pub members: usize,
    /// Mini-batches to train for. When not set: 150, and more above a thousand rows.
    #[parameter(range = 1..=10_000_000)]
    pub steps: Option<u64>,
    /// Whether the loss on rows held out ends the training; on a few hundred rows that is too early.
    pub early_stopping: bool,
    /// Examples in a mini-batch; each is contrasted with all others.
    #[parameter(default = 1024, range = 2..=65_536)]
    pub batch: usize,
    /// The largest step size; it falls to 0 as half a cosine.
    #[parameter(default = 1e-3, range = 1e-8..=10)]
    pub learning_rate: f64,
    /// Decoupled weight decay, towards the start.
    #[parameter(default = 1e-2, range = 0..=100)]
    pub weight_decay: f64,
    /// Fraction of the hidden units set to zero at a step.
    #[parameter(default = 0.3, range = 0.0..=0.95)]
    pub dropout: f64,
    /// The ridge that the training noise is equivalent to; that of the start when not set.
    #[parameter(range = 0..=1000)]
    pub noise: Option<PerModality<f64>>,
    /// The largest singular value of a network's layer; unbounded when not set.
    #[parameter(range = 1e-3..=1e3)]
    pub spectral_norm: Option<f64>,
    /// Weight of the decoders' error; above 0 every modality has an approximate inverse.
    #[parameter(range = 0..=1000)]
    pub reconstruction: f64,
    /// Share of the networks in the score; chosen among 0, 0.5 and 1 when not set.
    #[parameter(range = 0..=1)]
    pub blend: Option<f64>,
    /// Parameters of the canonical correlation that the networks start from.
    pub start: Option<CcaParams>,
}

impl MlpParameters {
    /// Returns the given steps, else the default for this number of rows.
    pub(crate) fn steps_for(&self, rows: usize) -> u64 {
        self.steps.unwrap_or_else(|| chiasm_kit::steps(150, rows))
    }
}
