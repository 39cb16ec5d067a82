//! The parameters of trained maps into a shared space.

use chiasm_closed_form::cca::CcaParams;
use chiasm_plugin::Parameters;
use chiasm_plugin::parameters::PerModality;
use serde::{Deserialize, Serialize};

use crate::terms::{TermSettings, TermWeights};

/// The parameters of trained maps into a shared space; those that are not set are chosen.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default)]
pub struct HeadParameters {
    /// The weights of the terms of the objective; those of the method where not set.
    pub terms: TermWeights,
    /// The temperature of InfoNCE, SigLIP and the Gram volume at the first step; it is learned.
    #[parameter(default = 0.05, range = 1e-3..=10)]
    pub tau: f64,
    /// The settings of the terms.
    #[serde(flatten)]
    #[parameter(flatten)]
    pub settings: TermSettings,
    /// Columns of the shared space; those of the canonical correlations when not set.
    #[parameter(range = 1..=65_536)]
    pub d_z: Option<usize>,
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
    /// Probability that a modality of an example is hidden at a step (stochastic modality masking).
    #[parameter(range = 0.0..=0.9)]
    pub modality_dropout: f64,
    /// The ridge that the training noise is equivalent to; that of the start when not set.
    #[parameter(range = 0..=1000)]
    pub noise: Option<PerModality<f64>>,
    /// The largest singular value of a network's layer; unbounded when not set.
    #[parameter(range = 1e-3..=1e3)]
    pub spectral_norm: Option<f64>,
    /// Share of the networks in the score; chosen among 0, 0.5 and 1 when not set.
    #[parameter(range = 0..=1)]
    pub blend: Option<f64>,
    /// Parameters of the canonical correlation that the networks start from.
    pub start: Option<CcaParams>,
}

impl HeadParameters {
    /// Returns the given steps, else the default for this number of rows.
    pub(super) fn steps_for(&self, rows: usize) -> u64 {
        self.steps.unwrap_or_else(|| crate::steps(150, rows))
    }

    /// The parameters of the closed form that training starts from.
    pub(super) fn start(&self) -> CcaParams {
        let start = self.start.clone().unwrap_or_default();
        match self.d_z {
            Some(columns) if start.settings.is_none() => {
                CcaParams { dimensions: Some(columns), members: 1, ..start }
            }
            _ => start,
        }
    }
}
