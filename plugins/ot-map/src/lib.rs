//! The ot-map aligner: a rotation learned from few pairs, or none, and by optimal transport from items
//! without partners.

use chiasm_closed_form::ot_map::OtMapParams;

chiasm_closed_form::aligner! {
    OtMap(OtMapParams), "ot-map",
    "Wasserstein-Procrustes of two modalities: a rotation from some pairs and from items without partners.",
    {
        "curve": "text",
            "What items go through first: unit or signed-root; one for all, or by modality.";
        "dimensions": "integer", "Principal coordinates kept of each modality.";
        "pairs": "integer", "So many of the rows that hold both modalities count as pairs at most (all).";
        "solver": "text", "How the plan of each turn is found: sinkhorn or emd (sinkhorn).";
        "eps_scale": "number", "Sinkhorn's regularisation as a share of the mean cost (0.05).";
        "weight": "number", "What an item without a partner counts beside a pair (0.1).";
        "steps": "integer", "Turns of plan and rotation at most (20); 0 uses the pairs alone.";
        "map": "text",
            "orthogonal (a turn alone), gaussian (matches covariances) or attention (orthogonal).";
        "shrinkage": "number",
            "Of a gaussian map: the share of each covariance that its mean variance replaces (0).";
        "time_limit": "number", "Of the exact solver: the most seconds for one plan (600).";
    }
}

chiasm_plugin::export_plugin! { aligners: [OtMap] }

chiasm_closed_form::aligner_tests!(OtMap);
