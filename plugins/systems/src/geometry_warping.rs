//! Neural geometry warping: maps there and back that regress the targets of a transport plan.
//!
//! ```text
//! L = L_A->B + L_B->A + lambda * L_cycle + lambda_inj * L_inj + lambda_smooth * L_smooth
//! ```
//!
//! L_A->B and L_B->A are regressions on the barycentric targets of an entropic plan. The text's cost
//! |z_A - z_B|² needs one space, so the plan is computed between the items after ridge regression onto the
//! reference. L_inj is the hinge with margin delta (`margin`), L_smooth the squared Jacobian.
//!
//! All terms are means over a part of each mini-batch, without bias because its order is random: the plan and
//! L_inj over the first `structure_rows` examples, L_smooth over 64 of these. Of the two round trips of
//! L_cycle an example makes one, if `batch` is at least twice `structure_rows`, as by default; otherwise it
//! makes both.

use chiasm_kit::terms::TermWeights;
use chiasm_kit::translators::{TranslatorMethod, TranslatorParameters, fit_translators};
use chiasm_plugin::parameters::read;
use chiasm_plugin::{Aligner, Error, Learned, Parameters, Result, Services, TrainingItems};
use serde::{Deserialize, Serialize};

/// The parameters of `geometry-warping`. The weight lambda of the round trips is `cycle`, the margin delta of
/// the hinge is `margin`.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default)]
pub struct WarpingParameters {
    /// Weight of the hinge that keeps images of different items apart.
    #[parameter(default = 0.1, range = 0..=1e6)]
    pub lambda_inj: f64,
    /// Weight of the squared Jacobians.
    #[parameter(default = 1e-3, range = 0..=1e6)]
    pub lambda_smooth: f64,
    /// The parameters of the maps.
    #[serde(flatten)]
    #[parameter(flatten)]
    pub translators: TranslatorParameters,
}

/// Maps there and back, trained on a transport plan.
#[derive(Debug)]
pub struct GeometryWarping;

impl Aligner for GeometryWarping {
    const ID: &'static str = "geometry-warping";
    const DOC: &'static str =
        "Maps onto a reference and back, trained on a transport plan with cycle consistency.";

    type Parameters = WarpingParameters;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: WarpingParameters,
        services: &Services<'_>,
    ) -> Result<Learned> {
        let weights = TermWeights::default()
            .barycentric(1.0)
            .injectivity(parameters.lambda_inj)
            .smoothness(parameters.lambda_smooth);
        let method = TranslatorMethod { id: Self::ID, weights };
        let mut learned = fit_translators(&method, items, parameters.translators.clone(), services)?;
        let chosen: TranslatorParameters =
            read(&learned.parameters).map_err(|error| Error::other(error.to_string()))?;
        let terms = parameters.translators.terms;
        let translators = TranslatorParameters { terms, ..chosen };
        learned.parameters = WarpingParameters { translators, ..parameters }.to_json();
        Ok(learned)
    }
}
