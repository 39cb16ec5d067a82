//! The mean-vector aligner: a baseline that learns no pairing.

use chiasm_closed_form::mean_vector::MeanVectorParams;
use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};

/// Centres every modality on its mean and learns nothing else: the baseline.
#[derive(Debug)]
pub struct MeanVectorAligner;

impl Aligner for MeanVectorAligner {
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

chiasm_plugin::export_plugin! { aligners: [MeanVectorAligner] }

chiasm_kit::aligner_tests!(MeanVectorAligner);
