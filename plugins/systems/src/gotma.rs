//! GOTMA: geometric and transport-based alignment of any number of modalities.
//!
//! ```text
//! L = lambda_ot * GW + lambda_rc * L_RC + lambda_ca * L_CA + lambda_cl * InfoNCE
//! ```
//!
//! GW is the entropic Gromov-Wasserstein discrepancy, which compares distances within modalities: the text's
//! cost between points of two manifolds needs coordinates in common. L_RC compares geodesic distances along
//! the graphs of k nearest neighbours; L_CA compares the curvature of these graphs. All are means over the
//! pairs of modalities.

use chiasm_kit::heads::HeadParameters;
use chiasm_kit::terms::TermWeights;
use chiasm_plugin::{Aligner, Learned, Parameters, Result, Services, TrainingItems};
use serde::{Deserialize, Serialize};

use crate::system::{SystemParameters, fit_system};

/// The parameters of `gotma`.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default)]
pub struct GotmaParameters {
    /// Weight of the Gromov-Wasserstein discrepancy.
    #[parameter(default = 0.1, range = 0..=1e6)]
    pub lambda_ot: f64,
    /// Weight of the Riemannian consistency of geodesic distances.
    #[parameter(default = 0.1, range = 0..=1e6)]
    pub lambda_rc: f64,
    /// Weight of the curvature alignment.
    #[parameter(default = 0.01, range = 0..=1e6)]
    pub lambda_ca: f64,
    /// Weight of InfoNCE.
    #[parameter(default = 1.0, range = 0..=1e6)]
    pub lambda_cl: f64,
    /// The parameters of the networks.
    #[serde(flatten)]
    #[parameter(flatten)]
    pub heads: HeadParameters,
}

impl SystemParameters for GotmaParameters {
    fn weights(&self) -> TermWeights {
        TermWeights::default()
            .gromov_wasserstein(self.lambda_ot)
            .geodesics(self.lambda_rc)
            .curvature(self.lambda_ca)
            .infonce(self.lambda_cl)
    }

    fn heads(&mut self) -> &mut HeadParameters {
        &mut self.heads
    }
}

/// Networks trained with Gromov-Wasserstein, geodesics, curvature and InfoNCE.
#[derive(Debug)]
pub struct Gotma;

impl Aligner for Gotma {
    const ID: &'static str = "gotma";
    const DOC: &'static str =
        "Networks trained with Gromov-Wasserstein, geodesic distances, curvature and InfoNCE.";

    type Parameters = GotmaParameters;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: GotmaParameters,
        services: &Services<'_>,
    ) -> Result<Learned> {
        fit_system([Self::ID, "GOTMA"], items, parameters, services)
    }
}
