//! The mean-vector aligner: the baseline that learns no pairing, and that every other aligner has to exceed.

use chiasm_closed_form::mean_vector::MeanVectorParams;

chiasm_closed_form::aligner! {
    MeanVector(MeanVectorParams), "mean-vector",
    "Centres every modality on its mean and learns nothing else: the baseline.",
    {}
}

chiasm_plugin::export_plugin! { aligners: [MeanVector] }

chiasm_closed_form::aligner_tests!(MeanVector);
