//! The ridge aligner: predicts one encoder's space from the others'.

use chiasm_closed_form::ridge::RidgeParams;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Ridge regression of every other modality on one, the anchor where there is one.
#[derive(Debug)]
pub struct RidgeAligner;

impl Aligner for RidgeAligner {
    const ID: &'static str = "ridge";
    const DOC: &'static str =
        "Ridge regression of every other modality on one, the anchor where there is one.";
    type Parameters = RidgeParams;

    fn fit(items: &TrainingItems<'_>, parameters: RidgeParams, services: &Services<'_>) -> Result<Learned> {
        chiasm_kit::fit_method(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [RidgeAligner] }

chiasm_kit::aligner_tests!(RidgeAligner);
