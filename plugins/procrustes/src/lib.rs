//! The procrustes aligner: turns the leading axes of all encoders onto each other, and changes no distance.

use chiasm_closed_form::procrustes::ProcrustesParams;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Generalised Procrustes: turns the leading axes of every modality onto the others; keeps distances.
#[derive(Debug)]
pub struct Procrustes;

impl Aligner for Procrustes {
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

chiasm_plugin::export_plugin! { aligners: [Procrustes] }

chiasm_kit::aligner_tests!(Procrustes);
