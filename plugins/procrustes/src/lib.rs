//! The procrustes aligner: turns the leading axes of one encoder onto those of the other, and changes no distance.

use chiasm_closed_form::procrustes::ProcrustesParams;

chiasm_closed_form::aligner! {
    Procrustes(ProcrustesParams), "procrustes", "Turns the leading axes of the source onto those of the target; keeps distances.",
    {
        "source_curve": "text", "What source rows go through before they are brought to length one: unit or signed-root.";
        "target_curve": "text", "What target rows go through before they are brought to length one: unit or signed-root.";
        "source_blocks": "list of integers", "Widths of the encoders that stand side by side in a source row.";
        "target_blocks": "list of integers", "Widths of the encoders that stand side by side in a target row.";
        "dimensions": "integer", "Principal coordinates kept of each side.";
    }
}

chiasm_plugin::export_plugin! { aligners: [Procrustes] }

chiasm_closed_form::aligner_tests!(Procrustes);
