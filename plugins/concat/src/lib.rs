//! The concat fusion: the modalities side by side, brought to length one.
//!
//! The baseline that keeps every number: the score of two fused rows is the mean of the modalities' scores
//! when their rows have equal lengths. A row of zeros stands for an absent modality. It learns nothing and
//! takes no parameters.

use chiasm_plugin::graph::{Builder, DType, Dim, Value};
use chiasm_plugin::{Error, Fused, Fusion, FusionSpec, Inputs, NoParameters, Result, Services, json};

/// The modalities side by side, brought to length one.
#[derive(Debug)]
pub struct ConcatFusion;

impl Fusion for ConcatFusion {
    const ID: &'static str = "concat";
    const DOC: &'static str = "The modalities side by side, brought to length one.";
    type Parameters = NoParameters;

    fn fit(spec: &FusionSpec, _: &Inputs<'_>, _: NoParameters, _: &Services<'_>) -> Result<Fused> {
        let modalities = &spec.modalities;
        if modalities.is_empty() {
            return Err(Error::invalid("concat: expected at least one modality, got none"));
        }
        let batch = || Dim::named("batch");
        let mut b = Builder::new("concat");
        let parts: Vec<Value> = modalities
            .iter()
            .map(|m| b.input(&format!("{}.pooled", m.name), DType::F32, &[batch(), m.pooled_dim.into()]))
            .collect::<Result<_, _>>()?;
        let joined = b.concat(&parts.iter().collect::<Vec<_>>(), 1);
        let fused = b.l2_normalise(&joined, -1, 1e-12);
        let width: usize = modalities.iter().map(|m| m.pooled_dim).sum();
        b.output("fused", &fused, DType::F32, &[batch(), width.into()]);
        Ok(Fused { graph: b.finish()?, notes: json!({ "dimensions": width }) })
    }
}

chiasm_plugin::export_plugin! { fusions: [ConcatFusion] }

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_plugin::graph::Tensor;
    use chiasm_plugin::{Json, Modality};
    use chiasm_runtime::{Engine, EngineSearch, SessionOptions};

    fn modality(name: &str, pooled_dim: usize) -> Modality {
        Modality { name: name.into(), pooled_dim, token_dim: None }
    }

    #[test]
    fn widths_add_up_and_ports_carry_the_modalities_names() {
        let both = [modality("image", 3), modality("text", 5)];
        let spec = FusionSpec { modalities: both.to_vec(), task: None };
        let fused = ConcatFusion::fit_json(&spec, &Inputs::of(&[]), &json!({}), &Services::detached(0, 1))
            .unwrap()
            .graph;
        fused.verify_learned().unwrap();
        let names: Vec<String> = fused.inputs().into_iter().map(|port| port.to_string()).collect();
        assert_eq!(names, ["image.pooled f32[batch,3]", "text.pooled f32[batch,5]"]);
        assert_eq!(fused.outputs()[0].to_string(), "fused f32[batch,8]");
    }

    /// Four modalities of other widths, of which the second is absent: the others side by side, at length
    /// one.
    #[test]
    fn four_modalities_stand_side_by_side_and_an_absent_one_is_zero() {
        let engine = Engine::open(&EngineSearch::from_environment(None)).unwrap();
        let widths = [("image", 1), ("text", 2), ("sound", 1), ("depth", 3)];
        let modalities = widths.map(|(name, width)| modality(name, width));
        let spec = FusionSpec { modalities: modalities.to_vec(), task: None };
        let fused = ConcatFusion::fit_json(&spec, &Inputs::of(&[]), &json!({}), &Services::detached(0, 1))
            .unwrap()
            .graph;
        let values = [vec![2.0], vec![0.0, 0.0], vec![-1.0], vec![2.0, 0.0, 4.0]];
        let tensors = values.map(|values| Tensor::f32(&[1, values.len()], values).unwrap());
        let ports = fused.inputs();
        let given: Vec<(&str, &Tensor)> = ports.iter().map(|port| port.name.as_str()).zip(&tensors).collect();
        let out = engine.session(&fused, &SessionOptions::default()).unwrap().run(&given).unwrap();
        assert_eq!(out[0].1.as_f32().unwrap(), [0.4, 0.0, 0.0, -0.2, 0.4, 0.0, 0.8]);
    }

    #[test]
    fn nothing_to_fuse_and_unknown_parameters_are_refused() {
        let refuse = |modalities: &[Modality], parameters: Json| {
            let (spec, data) = (FusionSpec { modalities: modalities.to_vec(), task: None }, Inputs::of(&[]));
            ConcatFusion::fit_json(&spec, &data, &parameters, &Services::detached(0, 1)).unwrap_err()
        };
        assert!(refuse(&[], json!({})).message().contains("at least one modality"));
        assert!(refuse(&[modality("image", 3)], json!({ "weight": 1 })).message().contains("weight"));
    }
}
