//! OT-Align&Merge: encoders into a shared space and decoders out of it.
//!
//! ```text
//! L = mean_i |f_A(x_i) - f_B(y_i)|² + lambda_ot * S(f_A(X), f_B(Y)) + lambda_rec * reconstruction
//! ```
//!
//! The text minimises a Wasserstein distance between the clouds; for paired rows the plan is the identity,
//! which gives the first term, and S is the Sinkhorn divergence over all items of the mini-batch. Outputs
//! have length one, so they cannot collapse to zero; the reconstruction keeps them from collapsing to a
//! point.

use chiasm_kit::heads::HeadParameters;
use chiasm_kit::terms::TermWeights;
use chiasm_plugin::{Aligner, Learned, Parameters, Result, Services, TrainingItems};
use serde::{Deserialize, Serialize};

use crate::system::{SystemParameters, fit_system};

/// The parameters of `ot-align-merge`.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default)]
pub struct AlignMergeParameters {
    /// Weight of the Sinkhorn divergence.
    #[parameter(default = 0.1, range = 0..=1e6)]
    pub lambda_ot: f64,
    /// Weight of the reconstruction by the decoders.
    #[parameter(default = 1.0, range = 0..=1e6)]
    pub lambda_rec: f64,
    /// The parameters of the networks.
    #[serde(flatten)]
    #[parameter(flatten)]
    pub heads: HeadParameters,
}

impl SystemParameters for AlignMergeParameters {
    fn weights(&self) -> TermWeights {
        let weights = TermWeights::default().paired_mse(1.0);
        weights.sinkhorn_divergence(self.lambda_ot).reconstruction(self.lambda_rec)
    }

    fn heads(&mut self) -> &mut HeadParameters {
        &mut self.heads
    }
}

/// Networks and decoders trained with the paired distance, transport and reconstruction.
#[derive(Debug)]
pub struct OtAlignMerge;

impl Aligner for OtAlignMerge {
    const ID: &'static str = "ot-align-merge";
    const DOC: &'static str =
        "Networks and decoders trained with the distance of partners, transport and reconstruction.";

    type Parameters = AlignMergeParameters;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: AlignMergeParameters,
        services: &Services<'_>,
    ) -> Result<Learned> {
        fit_system([Self::ID, "OT-Align&Merge"], items, parameters, services)
    }
}
