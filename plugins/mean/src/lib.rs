//! The mean fusion: the mean of the modalities' unit rows, brought to length one.
//!
//! The baseline for rows that an aligner has mapped into one space: the fused row lies in that space too and
//! can be compared with each of them. A row of zeros stands for an absent modality: the mean is that of the
//! others. It learns nothing, takes no parameters, and refuses modalities of unequal widths.

use chiasm_plugin::graph::{Builder, DType, Dim};
use chiasm_plugin::{Error, Fused, Fusion, FusionSpec, Inputs, NoParameters, Result, Services, json};

/// The mean of the modalities' unit rows, brought to length one.
#[derive(Debug)]
pub struct MeanFusion;

impl Fusion for MeanFusion {
    const ID: &'static str = "mean";
    const DOC: &'static str = "The mean of the modalities' unit rows, brought to length one.";
    type Parameters = NoParameters;

    fn fit(spec: &FusionSpec, _: &Inputs<'_>, _: NoParameters, _: &Services<'_>) -> Result<Fused> {
        let modalities = &spec.modalities;
        let [first, rest @ ..] = modalities.as_slice() else {
            return Err(Error::invalid("mean: expected at least one modality, got none"));
        };
        let width = first.pooled_dim;
        if let Some(other) = rest.iter().find(|m| m.pooled_dim != width) {
            return Err(Error::invalid(format!(
                "mean: expected modalities of one width, got {} with {width} columns and {} with {}; align \
                 them into one space first, or fuse with concat",
                first.name, other.name, other.pooled_dim
            )));
        }
        let batch = || Dim::named("batch");
        let mut b = Builder::new("mean");
        let mut sum = None;
        for modality in modalities {
            let name = format!("{}.pooled", modality.name);
            let part = b.input(&name, DType::F32, &[batch(), width.into()])?;
            let part = b.l2_normalise(&part, -1, 1e-12);
            sum = Some(match sum {
                Some(sum) => b.add(&sum, &part),
                None => part,
            });
        }
        if let Some(sum) = sum {
            // normalised, the sum equals the mean
            let fused = b.l2_normalise(&sum, -1, 1e-12);
            b.output("fused", &fused, DType::F32, &[batch(), width.into()]);
        }
        Ok(Fused { graph: b.finish()?, notes: json!({ "dimensions": width }) })
    }
}

chiasm_plugin::export_plugin! { fusions: [MeanFusion] }

#[cfg(test)]
mod tests {
    use super::*;
    use chiasm_plugin::Modality;
    use chiasm_plugin::graph::Tensor;
    use chiasm_runtime::{Engine, EngineSearch, SessionOptions};

    fn fit(widths: &[usize]) -> Result<Fused> {
        let modalities: Vec<Modality> = widths
            .iter()
            .zip(["image", "text", "sound", "depth"])
            .map(|(&pooled_dim, name)| Modality { name: name.into(), pooled_dim, token_dim: None })
            .collect();
        let spec = FusionSpec { modalities, task: None };
        MeanFusion::fit_json(&spec, &Inputs::of(&[]), &json!({}), &Services::detached(0, 1))
    }

    #[test]
    fn the_fused_row_keeps_the_width() {
        let fused = fit(&[4, 4, 4]).unwrap().graph;
        fused.verify_learned().unwrap();
        assert_eq!(fused.inputs().len(), 3);
        assert_eq!(fused.outputs()[0].to_string(), "fused f32[batch,4]");
    }

    /// Two rows of three and of four modalities; from the second row one is absent.
    #[test]
    fn the_mean_is_that_of_the_modalities_present() {
        let engine = Engine::open(&EngineSearch::from_environment(None)).unwrap();
        for count in [3, 4] {
            let fused = fit(&vec![2; count]).unwrap().graph;
            let rows: Vec<[f32; 4]> =
                [[2.0, 0.0, 0.0, 5.0], [0.0, 3.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0]]
                    [..count]
                    .to_vec();
            let tensors: Vec<Tensor> =
                rows.iter().map(|row| Tensor::f32(&[2, 2], row.to_vec()).unwrap()).collect();
            let ports = fused.inputs();
            let given: Vec<(&str, &Tensor)> =
                ports.iter().map(|port| port.name.as_str()).zip(&tensors).collect();
            let out = engine.session(&fused, &SessionOptions::default()).unwrap().run(&given).unwrap();
            let mut expected = Vec::new();
            for row in 0..2 {
                let mut sum = [0.0_f32; 2];
                for values in rows.iter().map(|values| &values[2 * row..][..2]) {
                    let length = values[0].hypot(values[1]);
                    if length > 0.0 {
                        sum[0] += values[0] / length;
                        sum[1] += values[1] / length;
                    }
                }
                let length = sum[0].hypot(sum[1]);
                expected.extend(sum.map(|x| x / length));
            }
            let got = out[0].1.as_f32().unwrap();
            assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}, {expected:?}");
        }
    }

    #[test]
    fn unequal_widths_are_refused_with_both() {
        let refusal = fit(&[4, 6]).unwrap_err().message().to_owned();
        assert!(refusal.contains("image with 4") && refusal.contains("text with 6"), "{refusal}");
        assert!(fit(&[]).is_err());
    }
}
