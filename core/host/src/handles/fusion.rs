//! A fusion of a plugin.

use std::sync::Arc;

use chiasm_abi::{Code, FusionModule_Ref};
use chiasm_graph::Graph;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, aligner, data::Data, kept};
use crate::load::Loaded;
use crate::verify::{self, Axis};
use crate::{
    Fused, FusionNeeds, FusionSpec, HostError, HostServices, Modality, Parameter, Phase, PluginTag, Result,
};

/// Merges vectors of several modalities into one.
#[derive(Clone)]
pub struct Fusion {
    id: String,
    tag: Arc<PluginTag>,
    module: FusionModule_Ref,
    sha256: [u8; 32],
}

/// The JSON beside a fusion's graph.
#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    notes: Value,
}

impl Fusion {
    pub(crate) fn new(id: &str, tag: Arc<PluginTag>, loaded: Loaded) -> Result<Self> {
        let module = kept(loaded.fusions, id, "fusion", &tag)?;
        Ok(Self { id: id.to_owned(), tag, module, sha256: loaded.sha256 })
    }

    /// The plugin that it belongs to.
    pub fn plugin(&self) -> &PluginTag {
        &self.tag
    }

    /// The hash of the plugin's file, as it was loaded.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// What the user may set.
    pub fn parameters(&self) -> Result<Vec<Parameter>> {
        let answer = Answer { tag: &self.tag, phase: Phase::Describe };
        answer.parameters(self.module.parameters()(self.id.as_str().into()))
    }

    /// Checks parameters, a JSON object, and returns what it reads beside pooled vectors with them, and the
    /// tasks that it can be trained for.
    ///
    /// # Errors
    /// When a parameter is unknown, of another kind or out of range, or the plugin fails.
    pub fn needs(&self, parameters: &Value) -> Result<FusionNeeds> {
        let answer = Answer { tag: &self.tag, phase: Phase::Describe };
        let reply = self.module.needs()(self.id.as_str().into(), parameters.to_string().as_str().into());
        answer.json(&answer.take(reply)?, "needs")
    }

    /// Fits or builds on the arrays that [`FusionSpec`] speaks of, and checks what comes back: a sound, finite graph with ports
    /// as [`Fused`] promises them.
    pub fn fit(
        &self,
        spec: &FusionSpec,
        data: &[(&str, Data<'_>)],
        parameters: &Value,
        services: &dyn HostServices,
    ) -> Result<Fused> {
        let answer = Answer { tag: &self.tag, phase: Phase::Fit };
        let needs = self.needs(parameters)?;
        let context = serde_json::to_value(spec)
            .map_err(|e| HostError::new(Code::INVALID, Phase::Fit, e.to_string()).of(&self.tag))?;
        let outcome =
            aligner::fit(&answer, &self.id, data, parameters, &context, services, |job, services| {
                self.module.fit()(job, services)
            })?;
        let report: Report = answer.json(&outcome.report, "notes")?;
        let bytes = answer.check(aligner::graphs(&outcome, &["fused"]))?;
        let bytes = answer.check(bytes[0].ok_or_else(|| "it gave no graph `fused`".to_owned()))?;
        let graph = answer.check(verify::graph(bytes, "fused"))?;
        answer.check(ports(&graph, spec, needs.tokens))?;
        Ok(Fused { graph, notes: report.notes })
    }
}

/// Of each modality at least one port, and no other than promised; the outputs that the task asks for, and perhaps where attention went.
fn ports(graph: &Graph, spec: &FusionSpec, tokens: bool) -> Result<(), String> {
    let own: Vec<String> = graph.inputs().into_iter().map(|port| port.name).collect();
    let mut inputs: Vec<(String, Vec<Axis>)> = Vec::new();
    for Modality { name, pooled_dim, token_dim } in &spec.modalities {
        let mut known = vec![(format!("{name}.pooled"), vec![Axis::Batch, Axis::Exactly(*pooled_dim)])];
        if let Some(width) = token_dim.filter(|_| tokens) {
            known.push((format!("{name}.tokens"), vec![Axis::Batch, Axis::Free, Axis::Exactly(width)]));
        }
        known.push((format!("{name}.mask"), vec![Axis::Batch, Axis::Free]));
        let taken: Vec<_> = known.iter().filter(|(port, _)| own.contains(port)).cloned().collect();
        if taken.is_empty() {
            let known: Vec<&str> = known.iter().map(|(port, _)| port.as_str()).collect();
            return Err(format!(
                "its graph `fused` takes nothing of {name}; it may take {}",
                known.join(", ")
            ));
        }
        inputs.extend(taken);
    }
    let inputs: Vec<(&str, &[Axis])> =
        inputs.iter().map(|(name, axes)| (name.as_str(), axes.as_slice())).collect();
    let labels = spec.task.as_ref().filter(|task| task.has_logits()).map(|task| task.labels.len());
    let logits = [Axis::Batch, Axis::Exactly(labels.unwrap_or_default())];
    let mut outputs: Vec<(&str, &[Axis])> = vec![("fused", &[Axis::Batch, Axis::Fixed])];
    outputs.extend(labels.map(|_| ("logits", &logits[..])));
    let looks: Vec<String> = spec.modalities.iter().map(|m| format!("attention.{}", m.name)).collect();
    let looks = looks.iter().filter(|name| tokens && graph.output(name).is_ok());
    outputs.extend(looks.map(|name| (name.as_str(), &[Axis::Batch, Axis::Free][..])));
    verify::ports(graph, "fused", &inputs, &outputs)
}
