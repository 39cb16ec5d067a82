//! The procrustes aligner: rotates the principal axes of all encoders onto each other, and keeps distances.

use chiasm_closed_form::procrustes::ProcrustesParams;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Generalised Procrustes: turns the leading axes of every modality onto the others; keeps distances.
#[derive(Debug)]
pub struct ProcrustesAligner;

impl Aligner for ProcrustesAligner {
    const ID: &'static str = "procrustes";
    const DOC: &'static str =
        "Generalised Procrustes: turns the leading axes of every modality onto the others; keeps distances.";
    type Parameters = ProcrustesParams;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: ProcrustesParams,
        services: &Services<'_>,
    ) -> Result<Learned> {
        chiasm_kit::fit_method(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [ProcrustesAligner] }

chiasm_kit::aligner_tests!(ProcrustesAligner);
