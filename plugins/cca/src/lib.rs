//! The cca aligner: directions of correlation between all encoders, weighted by their correlations.

use chiasm_closed_form::cca::CcaParams;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Regularised (generalised) canonical correlation with correlation-weighted cosine.
#[derive(Debug)]
pub struct CcaAligner;

impl Aligner for CcaAligner {
    const ID: &'static str = "cca";
    const DOC: &'static str =
        "Regularised (generalised) canonical correlation with correlation-weighted cosine.";
    type Parameters = CcaParams;

    fn fit(items: &TrainingItems<'_>, parameters: CcaParams, services: &Services<'_>) -> Result<Learned> {
        chiasm_kit::fit_method(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [CcaAligner] }

chiasm_kit::aligner_tests!(CcaAligner);
