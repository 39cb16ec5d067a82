//! The mean-vector aligner: the honest floor that every other aligner has to beat.

use chiasm_closed_form::mean_vector::MeanVectorParams;

chiasm_closed_form::aligner! {
    MeanVector(MeanVectorParams), "mean-vector", "Moves both sides onto one mean and learns nothing else: the floor.",
    {
        "source_blocks": "list of integers", "Widths of the encoders that stand side by side in a source row.";
        "target_blocks": "list of integers", "Widths of the encoders that stand side by side in a target row.";
    }
}

chiasm_plugin::export_plugin! { aligners: [MeanVector] }

chiasm_closed_form::aligner_tests!(MeanVector);
