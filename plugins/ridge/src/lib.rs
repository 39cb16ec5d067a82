//! The ridge aligner: predicts one encoder's space from the others'.

use chiasm_closed_form::ridge::RidgeParams;

chiasm_closed_form::aligner! {
    Ridge(RidgeParams), "ridge",
    "Ridge regression of every other modality on one, the anchor where there is one.",
    {
        "curve": "text",
            "What items go through first: unit or signed-root; one for all, or by modality.";
        "onto": "text",
            "The modality that is predicted: not set, the anchor, the better one of two, or the last.";
        "ridge": "number",
            "Ridge relative to the top variance of the modality that predicts; one for all, or by modality.";
    }
}

chiasm_plugin::export_plugin! { aligners: [Ridge] }

chiasm_closed_form::aligner_tests!(Ridge);
