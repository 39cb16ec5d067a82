//! The ridge aligner: predicts one encoder's space from the other's, in the direction that serves better.

use chiasm_closed_form::ridge::RidgeParams;

chiasm_closed_form::aligner! {
    Ridge(RidgeParams), "ridge", "Ridge regression of one side on the other, in the better direction.",
    {
        "source_curve": "text", "What source rows go through before they are brought to length one: unit or signed-root.";
        "target_curve": "text", "What target rows go through before they are brought to length one: unit or signed-root.";
        "source_blocks": "list of integers", "Widths of the encoders that stand side by side in a source row.";
        "target_blocks": "list of integers", "Widths of the encoders that stand side by side in a target row.";
        "direction": "text", "Which side is predicted: source-to-target or target-to-source.";
        "ridge": "number", "Ridge relative to the top variance of the regressors.";
    }
}

chiasm_plugin::export_plugin! { aligners: [Ridge] }

chiasm_closed_form::aligner_tests!(Ridge);
