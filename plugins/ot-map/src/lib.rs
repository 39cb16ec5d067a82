//! The ot-map aligner: a rotation learned from few pairs, or none, and by optimal transport from items
//! without partners.

use chiasm_closed_form::ot_map::OtMapParams;
use chiasm_plugin::{Aligner, Learned, ModalityCount, Result, Services, TrainingItems};

/// Wasserstein-Procrustes of two modalities: a rotation from some pairs and from items without partners.
#[derive(Debug)]
pub struct OtMapAligner;

impl Aligner for OtMapAligner {
    const ID: &'static str = "ot-map";
    const DOC: &'static str = "Wasserstein-Procrustes of two modalities: a rotation from some pairs and from \
                               items without partners.";
    type Parameters = OtMapParams;

    fn takes(_: &OtMapParams) -> ModalityCount {
        chiasm_kit::modality_count::<OtMapParams>()
    }

    fn fit(items: &TrainingItems<'_>, parameters: OtMapParams, services: &Services<'_>) -> Result<Learned> {
        chiasm_kit::fit_method(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [OtMapAligner] }

chiasm_kit::aligner_tests!(OtMapAligner);
