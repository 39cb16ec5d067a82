//! The mlp aligner: one network for each modality into a shared space, started from canonical correlations
//! and compared with the closed forms.
//!
//! Each network is a residual one over its modality's principal coordinates and starts as the map of `cca`.
//! The loss is the mean over all pairs of modalities, or over those with the anchor where the recipe names
//! one. Networks are trained with noise equivalent to the ridge that cross-validation found for the start
//! (Bishop 1995): without it a network on a few hundred rows overfits within ten steps. Several networks from
//! different seeds are averaged, perhaps with the start; rows held out decide whether that is better than the
//! start, which is returned otherwise.

mod ensemble;
mod fit;
mod model;
mod settings;
mod training;

use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

pub use settings::{Loss, Settings};

/// Networks into a shared space.
#[derive(Debug)]
pub struct Mlp;

impl Aligner for Mlp {
    const ID: &'static str = "mlp";
    const DOC: &'static str = "Networks into a shared space, started from canonical correlations.";

    type Parameters = Settings;

    fn fit(items: &TrainingItems<'_>, settings: Settings, services: &Services<'_>) -> Result<Learned> {
        fit::fit(items, settings, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [Mlp] }
