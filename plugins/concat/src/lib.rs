//! The concat fusion: the modalities side by side, brought to length one.
//!
//! The baseline that loses nothing: the score of two fused rows is the mean of the modalities' scores when their rows
//! have equal lengths. Learns nothing, so it takes no parameters.

use chiasm_plugin::graph::{Builder, DType, Dim, Value};
use chiasm_plugin::{
    Error, Fused, Fusion, Inputs, Json, Modality, Parameter, Result, Services, json, read_parameters,
};
use serde::Deserialize;

/// The modalities side by side, brought to length one.
#[derive(Debug)]
pub struct Concat;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

impl Fusion for Concat {
    const ID: &'static str = "concat";
    const DOC: &'static str = "The modalities side by side, brought to length one.";

    fn parameters() -> Vec<Parameter> {
        Vec::new()
    }

    fn fit(modalities: &[Modality], _: &Inputs<'_>, parameters: &Json, _: &Services<'_>) -> Result<Fused> {
        let Nothing {} = read_parameters(parameters)?;
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

chiasm_plugin::export_plugin! { fusions: [Concat] }
