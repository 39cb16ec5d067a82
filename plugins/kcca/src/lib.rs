//! The kcca aligner: canonical correlation behind a radial kernel against the training items.

use chiasm_closed_form::kcca::KccaParams;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Canonical correlation in the space of a radial kernel; the strongest closed form with few pairs.
#[derive(Debug)]
pub struct Kcca;

impl Aligner for Kcca {
    const ID: &'static str = "kcca";
    const DOC: &'static str =
        "Canonical correlation in the space of a radial kernel; the strongest closed form with few pairs.";
    type Parameters = KccaParams;

    fn fit(items: &TrainingItems<'_>, parameters: KccaParams, services: &Services<'_>) -> Result<Learned> {
        chiasm_kit::fit_method(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [Kcca] }

chiasm_kit::aligner_tests!(Kcca);
