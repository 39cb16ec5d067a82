//! The hybrid of transport and Riemannian alignment: linear maps with bounded singular values.
//!
//! ```text
//! L = InfoNCE + lambda_ot * OT + lambda_riemannian * D(S_V, S_T)
//! ```
//!
//! The text writes Tr(S_V log S_T) of local covariances, which has no lower bound. The term `covariance` is
//! the von Neumann divergence Tr(S_V (log S_V - log S_T)) - Tr(S_V - S_T), which contains that trace and is
//! zero for equal covariances; it is taken both ways. A modality of an example is hidden with probability
//! `modality_dropout` (stochastic modality masking). For many modalities the text proposes a tensor
//! decomposition in place of all pairs; an anchor compares M - 1 pairs instead.

use chiasm_kit::heads::HeadParameters;
use chiasm_kit::terms::TermWeights;
use chiasm_plugin::{Aligner, Learned, Parameters, Result, Services, TrainingItems};
use serde::{Deserialize, Serialize};

use crate::system::{SystemParameters, fit_system};

/// The parameters of `hybrid-riemannian`.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default)]
pub struct HybridParameters {
    /// Weight of the transport cost.
    #[parameter(default = 0.3, range = 0..=1e6)]
    pub lambda_ot: f64,
    /// Weight of the divergence of local covariances.
    #[parameter(default = 0.1, range = 0..=1e6)]
    pub lambda_riemannian: f64,
    /// The parameters of the maps.
    #[serde(flatten)]
    #[parameter(flatten, default = linear())]
    pub heads: HeadParameters,
}

/// Linear maps with spectral normalisation, and one modality in ten hidden.
fn linear() -> HeadParameters {
    HeadParameters { hidden: 0, spectral_norm: Some(1.0), modality_dropout: 0.1, ..HeadParameters::default() }
}

impl SystemParameters for HybridParameters {
    fn weights(&self) -> TermWeights {
        TermWeights::default().infonce(1.0).ot(self.lambda_ot).covariance(self.lambda_riemannian)
    }

    fn heads(&mut self) -> &mut HeadParameters {
        &mut self.heads
    }
}

/// Linear maps trained with InfoNCE, transport and local covariances.
#[derive(Debug)]
pub struct HybridRiemannian;

impl Aligner for HybridRiemannian {
    const ID: &'static str = "hybrid-riemannian";
    const DOC: &'static str =
        "Linear maps with bounded singular values, trained with InfoNCE, transport and local covariances.";

    type Parameters = HybridParameters;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: HybridParameters,
        services: &Services<'_>,
    ) -> Result<Learned> {
        fit_system([Self::ID, "the hybrid alignment"], items, parameters, services)
    }
}
