//! The kcca aligner: canonical correlation of radial kernel values against the training items.

use chiasm_closed_form::kcca::KccaParams;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Canonical correlation in the space of a radial kernel; the strongest closed form with few pairs.
#[derive(Debug)]
pub struct KccaAligner;

impl Aligner for KccaAligner {
    const ID: &'static str = "kcca";
    const DOC: &'static str =
        "Canonical correlation in the space of a radial kernel; the strongest closed form with few pairs.";
    type Parameters = KccaParams;

    fn fit(items: &TrainingItems<'_>, parameters: KccaParams, services: &Services<'_>) -> Result<Learned> {
        chiasm_kit::fit_method(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [KccaAligner] }

chiasm_kit::aligner_tests!(KccaAligner);
