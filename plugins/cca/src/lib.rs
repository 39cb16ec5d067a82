//! The cca aligner: the directions in which all encoders vary together, each weighted by how much they do.

use chiasm_closed_form::cca::CcaParams;

chiasm_closed_form::aligner! {
    Cca(CcaParams), "cca",
    "Regularised (generalised) canonical correlation with correlation-weighted cosine.",
    {
        "curve": "text",
            "What items go through first: unit or signed-root; one for all, or by modality.";
        "ridge": "number", "Ridge relative to the top variance of the modality; one for all, or by modality.";
        "dimensions": "integer", "Canonical directions kept.";
        "power": "number", "Power of the correlation that weights each direction.";
        "members": "integer", "How many of the best settings are joined into one map (20).";
        "settings": "list of settings", "The very settings to join, each with ridge, dimensions and power.";
    }
}

chiasm_plugin::export_plugin! { aligners: [Cca] }

chiasm_closed_form::aligner_tests!(Cca);
