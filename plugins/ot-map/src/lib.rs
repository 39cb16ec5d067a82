//! The ot-map aligner: a rotation learned from few pairs, or none, and from rows without partners by optimal transport.

use chiasm_closed_form::ot_map::OtMapParams;

chiasm_closed_form::aligner! {
    OtMap(OtMapParams), "ot-map", "Wasserstein-Procrustes: a rotation from some pairs and from rows without partners.",
    {
        "source_curve": "text", "What source rows go through before they are brought to length one: unit or signed-root.";
        "target_curve": "text", "What target rows go through before they are brought to length one: unit or signed-root.";
        "source_blocks": "list of integers", "Widths of the encoders that stand side by side in a source row.";
        "target_blocks": "list of integers", "Widths of the encoders that stand side by side in a target row.";
        "dimensions": "integer", "Principal coordinates kept of each side.";
        "pairs": "integer", "So many of the first rows are pairs, the others have no partner (all).";
        "solver": "text", "How the plan of each turn is found: sinkhorn or emd (sinkhorn).";
        "eps_scale": "number", "Sinkhorn's regularisation as a share of the mean cost (0.05).";
        "weight": "number", "What a row without a partner counts beside a pair (0.1).";
        "steps": "integer", "Turns of plan and rotation at most (20); 0 uses the pairs alone.";
        "map": "text", "What a turned row goes through: orthogonal (nothing), gaussian (matches covariances) or attention (a mean of likely target rows) (orthogonal).";
        "shrinkage": "number", "Of a gaussian map: the share of each covariance that its mean variance replaces (0).";
        "time_limit": "number", "Of the exact solver: the most seconds for one plan (600).";
    }
}

chiasm_plugin::export_plugin! { aligners: [OtMap] }

chiasm_closed_form::aligner_tests!(OtMap);
