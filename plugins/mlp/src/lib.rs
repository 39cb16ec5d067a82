//! The mlp aligner: one network for each modality into a shared space, trained with InfoNCE.
//!
//! It is [`chiasm_kit::heads`] with the term `infonce` at weight 1; a recipe may set the weight of any other
//! term in `[align.terms]`. The loss is the mean over all pairs of modalities, or over those with the anchor
//! where the recipe names one.

use chiasm_kit::heads::{HeadMethod, HeadParameters, fit_heads};
use chiasm_kit::terms::TermWeights;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Networks into a shared space.
#[derive(Debug)]
pub struct MlpAligner;

impl Aligner for MlpAligner {
    const ID: &'static str = "mlp";
    const DOC: &'static str = "Networks into a shared space, started from canonical correlations.";

    type Parameters = HeadParameters;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: HeadParameters,
        services: &Services<'_>,
    ) -> Result<Learned> {
        let weights = TermWeights::default().infonce(1.0);
        fit_heads(&HeadMethod { id: Self::ID, title: "the MLP", weights }, items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [MlpAligner] }
