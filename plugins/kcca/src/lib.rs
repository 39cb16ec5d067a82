//! The kcca aligner: canonical correlation behind a radial kernel against the training items.

use chiasm_closed_form::kcca::KccaParams;

chiasm_closed_form::aligner! {
    Kcca(KccaParams), "kcca",
    "Canonical correlation in the space of a radial kernel; the strongest closed form with few pairs.",
    {
        "curve": "text",
            "What items go through first: unit or signed-root; one for all, or by modality.";
        "widths": "list of numbers",
            "Kernel widths over the mean squared distance ([0.35, 0.7, 1.4]); for all, or by modality.";
        "landmarks": "integer",
            "Training items of a modality that its kernel is held against, at most (2000).";
        "ridge": "number", "Ridge relative to the top variance of the modality; one for all, or by modality.";
        "dimensions": "integer", "Canonical directions kept.";
        "power": "number", "Power of the correlation that weights each direction.";
        "members": "integer", "How many of the best settings are joined into one map (20).";
        "settings": "list of settings", "The very settings to join, each with ridge, dimensions and power.";
    }
}

chiasm_plugin::export_plugin! { aligners: [Kcca] }

chiasm_closed_form::aligner_tests!(Kcca);
