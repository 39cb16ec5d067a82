//! The procrustes aligner: turns the leading axes of all encoders onto each other, and changes no distance.

use chiasm_closed_form::procrustes::ProcrustesParams;

chiasm_closed_form::aligner! {
    Procrustes(ProcrustesParams), "procrustes",
    "Generalised Procrustes: turns the leading axes of every modality onto the others; keeps distances.",
    {
        "curve": "text",
            "What items go through first: unit or signed-root; one for all, or by modality.";
        "dimensions": "integer", "Principal coordinates kept of each modality.";
    }
}

chiasm_plugin::export_plugin! { aligners: [Procrustes] }

chiasm_closed_form::aligner_tests!(Procrustes);
