//! Explicit geometric alignment: InfoNCE and one geometric loss.
//!
//! ```text
//! L = InfoNCE + lambda_ga * L_GA,    L_GA one of
//!     ot             the entropic transport cost of the two clouds (section 3.2.1)
//!     neighbourhood  the divergence of soft neighbours, as in SNE (section 3.2.2)
//!     distances      |D_X - D_Y|_F² of the distance matrices (section 3.2.2)
//! ```
//!
//! The distances are divided by the number of pairs, so that lambda_ga does not depend on the mini-batch.

use chiasm_kit::heads::HeadParameters;
use chiasm_kit::terms::TermWeights;
use chiasm_plugin::{Aligner, Choice, Learned, Parameters, Result, Services, TrainingItems};
use serde::{Deserialize, Serialize};

use crate::system::{SystemParameters, fit_system};

/// The geometric loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Choice)]
#[serde(rename_all = "kebab-case")]
pub enum GeometricTerm {
    /// The entropic transport cost between the clouds.
    Ot,
    /// The divergence between the soft neighbours of partners.
    Neighbourhood,
    /// The squared difference of the distance matrices.
    Distances,
}

/// The parameters of `geometric`.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default)]
pub struct GeometricParameters {
    /// The geometric loss.
    #[parameter(default = GeometricTerm::Ot)]
    pub geometry: GeometricTerm,
    /// Weight of the geometric loss.
    #[parameter(default = 0.3, range = 0..=1e6)]
    pub lambda_ga: f64,
    /// The parameters of the networks.
    #[serde(flatten)]
    #[parameter(flatten)]
    pub heads: HeadParameters,
}

impl SystemParameters for GeometricParameters {
    fn weights(&self) -> TermWeights {
        let weights = TermWeights::default().infonce(1.0);
        match self.geometry {
            GeometricTerm::Ot => weights.ot(self.lambda_ga),
            GeometricTerm::Neighbourhood => weights.neighbourhood(self.lambda_ga),
            GeometricTerm::Distances => weights.distances(self.lambda_ga),
        }
    }

    fn heads(&mut self) -> &mut HeadParameters {
        &mut self.heads
    }
}

/// InfoNCE and one geometric loss.
#[derive(Debug)]
pub struct Geometric;

impl Aligner for Geometric {
    const ID: &'static str = "geometric";
    const DOC: &'static str =
        "Networks trained with InfoNCE and a geometric loss: transport, neighbourhoods or distances.";

    type Parameters = GeometricParameters;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: GeometricParameters,
        services: &Services<'_>,
    ) -> Result<Learned> {
        fit_system([Self::ID, "geometric alignment"], items, parameters, services)
    }
}
