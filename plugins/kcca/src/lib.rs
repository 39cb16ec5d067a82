//! The kcca aligner: canonical correlation behind a radial kernel against the training rows.

use chiasm_closed_form::kcca::KccaParams;

chiasm_closed_form::aligner! {
    Kcca(KccaParams), "kcca", "Canonical correlation in the space of a radial kernel; the strongest closed form with few pairs.",
    {
        "source_curve": "text", "What source rows go through before they are brought to length one: unit or signed-root.";
        "target_curve": "text", "What target rows go through before they are brought to length one: unit or signed-root.";
        "source_blocks": "list of integers", "Widths of the encoders that stand side by side in a source row.";
        "target_blocks": "list of integers", "Widths of the encoders that stand side by side in a target row.";
        "source_widths": "list of numbers", "Widths of the source kernels over the mean squared distance; their kernels are averaged ([0.35, 0.7, 1.4]).";
        "target_widths": "list of numbers", "Widths of the target kernels over the mean squared distance; their kernels are averaged ([0.35, 0.7, 1.4]).";
        "landmarks": "integer", "Training rows that the kernel is held against, at most (2000).";
        "source_ridge": "number", "Ridge of the source, relative to its top variance.";
        "target_ridge": "number", "Ridge of the target, relative to its top variance.";
        "dimensions": "integer", "Canonical directions kept.";
        "power": "number", "Power of the correlation that weights each direction.";
        "members": "integer", "How many of the best settings are joined into one map (20).";
        "settings": "list of settings", "The very settings to join, each with source_ridge, target_ridge, dimensions and power.";
    }
}

chiasm_plugin::export_plugin! { aligners: [Kcca] }

chiasm_closed_form::aligner_tests!(Kcca);
