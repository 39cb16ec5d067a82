//! The aligners cca and tensor-cca: directions of correlation between all encoders, weighted by their
//! correlations.

use chiasm_closed_form::{cca::CcaParams, tensor_cca::TensorCcaParams};
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

/// Tensor canonical correlation: components whose product over all encoders has a large mean.
#[derive(Debug)]
pub struct TensorCcaAligner;

impl Aligner for TensorCcaAligner {
    const ID: &'static str = "tensor-cca";
    const DOC: &'static str =
        "Tensor canonical correlation: the product over all encoders instead of every pair.";
    type Parameters = TensorCcaParams;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: TensorCcaParams,
        services: &Services<'_>,
    ) -> Result<Learned> {
        chiasm_kit::fit_method(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [CcaAligner, TensorCcaAligner] }

chiasm_kit::aligner_tests!(CcaAligner);

#[cfg(test)]
mod tensor_cca {
    use super::TensorCcaAligner;
    use chiasm_kit::testing::{check_parameters, check_refusals, fit, three_modalities};
    use chiasm_plugin::json;

    #[test]
    fn unknown_parameters_and_bad_items_are_refused() {
        check_parameters::<TensorCcaAligner>();
        check_refusals::<TensorCcaAligner>();
    }

    /// No row of these items holds all three modalities.
    #[test]
    fn rows_must_hold_every_modality() {
        let error = fit::<TensorCcaAligner>(&three_modalities(), &json!({})).unwrap_err().to_string();
        assert!(error.contains("2 or more rows that hold every modality, got 0"), "{error}");
    }
}
