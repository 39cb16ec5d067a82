//! The mlp aligner: one network for each modality into a shared space, started from canonical correlations
//! and compared with the closed forms.
//!
//! Each network is a residual one over its modality's principal coordinates and starts as the map of `cca`.
//! The loss is the mean over all pairs of modalities, or over those with the anchor where the recipe names
//! one. Networks are trained with noise equivalent to the ridge that cross-validation found for the start
//! (Bishop 1995): without it a network on a few hundred rows overfits within ten steps. Several networks
//! from different seeds are averaged, optionally with the start. If the result is not better than the start
//! on rows held out, the start is returned.

mod ensemble;
mod fit;
mod model;
mod parameters;
mod training;

use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

pub use parameters::{MlpLoss, MlpParameters};

/// Networks into a shared space.
#[derive(Debug)]
pub struct MlpAligner;

impl Aligner for MlpAligner {
    const ID: &'static str = "mlp";
    const DOC: &'static str = "Networks into a shared space, started from canonical correlations.";

    type Parameters = MlpParameters;

    fn fit(items: &TrainingItems<'_>, parameters: MlpParameters, services: &Services<'_>) -> Result<Learned> {
        fit::fit(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [MlpAligner] }
