//! The cycle aligner: for each modality a map onto the reference and a map back, started from ridge
//! regressions and trained to invert each other.
//!
//! It is [`chiasm_kit::translators`] with regression both ways, InfoNCE, cycle consistency, a hinge against
//! images that collapse and a penalty on the Jacobian; a recipe may set the weight of every term in
//! `[align.terms]`. The loss is half of
//!
//! ```text
//! |T_AB u - w|² + |T_BA w - u|²                          translation
//! + InfoNCE(T_AB u, w)                                   each pair against the others
//! + 2 cycle * mean of the round trips' errors            cycle
//! + 0.2 * mean of the hinges                             injectivity
//! + 2e-3 * mean squared derivative                       smoothness
//! ```
//!
//! Squares are means over coordinates.

use chiasm_kit::terms::TermWeights;
use chiasm_kit::translators::{TranslatorMethod, TranslatorParameters, fit_translators};
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Maps onto a reference and back that invert each other.
#[derive(Debug)]
pub struct CycleAligner;

impl Aligner for CycleAligner {
    const ID: &'static str = "cycle";
    const DOC: &'static str =
        "Maps onto a reference modality and back that invert each other, started from ridge regressions.";

    type Parameters = TranslatorParameters;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: TranslatorParameters,
        services: &Services<'_>,
    ) -> Result<Learned> {
        let weights = TermWeights::default().translation(1.0).infonce(0.5).injectivity(0.1).smoothness(1e-3);
        fit_translators(&TranslatorMethod { id: Self::ID, weights }, items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [CycleAligner] }
