//! The mean-vector aligner: the baseline that learns no pairing, and that every other aligner has to exceed.

use chiasm_closed_form::mean_vector::MeanVectorParams;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Centres every modality on its mean and learns nothing else: the baseline.
#[derive(Debug)]
pub struct MeanVector;

impl Aligner for MeanVector {
    const ID: &'static str = "mean-vector";
    const DOC: &'static str = "Centres every modality on its mean and learns nothing else: the baseline.";
    type Parameters = MeanVectorParams;

    fn fit(
        items: &TrainingItems<'_>,
        parameters: MeanVectorParams,
        services: &Services<'_>,
    ) -> Result<Learned> {
        chiasm_kit::fit_method(items, parameters, services)
    }
}

chiasm_plugin::export_plugin! { aligners: [MeanVector] }

chiasm_kit::aligner_tests!(MeanVector);
