//! The cca aligner: the directions in which both encoders vary together, each weighted by how much they do.

use chiasm_closed_form::cca::CcaParams;

chiasm_closed_form::aligner! {
    Cca(CcaParams), "cca", "Regularised canonical correlation with correlation-weighted cosine.",
    {
        "source_curve": "text", "What source rows go through before they are brought to length one: unit or signed-root.";
        "target_curve": "text", "What target rows go through before they are brought to length one: unit or signed-root.";
        "source_blocks": "list of integers", "Widths of the encoders that stand side by side in a source row.";
        "target_blocks": "list of integers", "Widths of the encoders that stand side by side in a target row.";
        "source_ridge": "number", "Ridge of the source, relative to its top variance.";
        "target_ridge": "number", "Ridge of the target, relative to its top variance.";
        "dimensions": "integer", "Canonical directions kept.";
        "power": "number", "Power of the correlation that weights each direction.";
        "members": "integer", "How many of the best settings are joined into one map (20).";
        "settings": "list of settings", "The very settings to join, each with source_ridge, target_ridge, dimensions and power.";
    }
}

chiasm_plugin::export_plugin! { aligners: [Cca] }

chiasm_closed_form::aligner_tests!(Cca);
