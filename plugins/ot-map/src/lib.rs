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
    }
}

chiasm_plugin::export_plugin! { aligners: [OtMap] }

#[cfg(test)]
mod tests {
    use chiasm_plugin::ndarray::Array2;
    use chiasm_plugin::{Aligner, Code, Inputs, Json, Services, json};

    use super::OtMap;

    fn fit(
        x: &Array2<f32>,
        y: &Array2<f32>,
        parameters: Json,
    ) -> chiasm_plugin::Result<chiasm_plugin::Learned> {
        let data = Inputs::of(&[("source.pooled", x.view()), ("target.pooled", y.view())]);
        OtMap::fit(&data, &parameters, &Services::detached(3, 1))
    }

    fn cloud(columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((30, columns), |(i, j)| ((i * (2 * j + 3)) as f32).sin())
    }

    #[test]
    fn what_was_learned_has_the_promised_ports() {
        let learned = fit(&cloud(7), &cloud(4), json!({})).unwrap();
        let port = |graph: &chiasm_plugin::graph::Graph| {
            let (from, to) = (graph.inputs().remove(0), graph.outputs().remove(0));
            (from.to_string(), to.name)
        };
        assert_eq!(port(&learned.source), ("x f32[batch,7]".to_owned(), "z".to_owned()));
        assert_eq!(port(&learned.target), ("y f32[batch,4]".to_owned(), "z".to_owned()));
        assert!(learned.notes["inverse"].is_string());
        let again = fit(&cloud(7), &cloud(4), learned.parameters.clone()).unwrap();
        assert_eq!(again.source.to_bytes().unwrap(), learned.source.to_bytes().unwrap());
    }

    /// The list that `plugin inspect` shows and the keys that a fit accepts must not drift apart.
    #[test]
    fn the_listed_parameters_are_the_known_ones() {
        let refusal = fit(&cloud(7), &cloud(4), json!({ "no such key": 1 })).unwrap_err();
        for parameter in OtMap::parameters() {
            assert!(refusal.message().contains(&format!("`{}`", parameter.name)), "{refusal}");
            fit(&cloud(7), &cloud(4), json!({ parameter.name.as_str(): null })).unwrap();
        }
        let named = refusal.message().matches('`').count() / 2 - 1;
        assert_eq!(named, OtMap::parameters().len(), "{refusal}");
    }

    #[test]
    fn bad_rows_are_the_users_to_mend() {
        let mut holed = cloud(4);
        holed[[3, 1]] = f32::NAN;
        let refusal = fit(&cloud(7), &holed, json!({})).unwrap_err();
        assert_eq!(refusal.code(), Code::INVALID);
        assert!(refusal.message().contains("target rows: row 3"), "{refusal}");
    }
}
