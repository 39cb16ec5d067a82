//! Fusions of plugins.

use std::sync::Arc;

use chiasm_abi::Code;
use chiasm_graph::Graph;
use serde::Deserialize;
use serde_json::Value;

use super::{ReplyReader, aligner, data::BorrowedArray, require};
use crate::calls::{ComponentKind, PluginCalls, Question};
use crate::start::LoadedPlugin;
use crate::verify::{self, AxisRequirement};
use crate::{
    Fused, FusionNeeds, FusionSpec, HostError, HostServices, Modality, Parameter, Phase, PluginTag, Result,
};

/// A fusion of a plugin: it merges the vectors of several modalities into one.
#[derive(Clone)]
pub struct FusionHandle {
    id: String,
    tag: Arc<PluginTag>,
    plugin: Arc<dyn PluginCalls>,
    sha256: [u8; 32],
}

/// The JSON that accompanies the graph of a fusion.
#[derive(Deserialize)]
struct FusionReport {
    #[serde(default)]
    notes: Value,
}

impl FusionHandle {
    pub(crate) fn new(id: &str, tag: Arc<PluginTag>, loaded: LoadedPlugin) -> Result<Self> {
        require(&loaded, ComponentKind::Fusion, id, &tag)?;
        Ok(Self { id: id.to_owned(), tag, plugin: loaded.calls, sha256: loaded.sha256 })
    }

    /// Returns the plugin that it belongs to.
    pub fn plugin(&self) -> &PluginTag {
        &self.tag
    }

    /// Returns the SHA-256 digest of the plugin's file as it was loaded.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns its parameters.
    pub fn parameters(&self) -> Result<Vec<Parameter>> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Describe };
        reader.parameters(self.plugin.ask(Question::FusionParameters, self.id.as_str().into(), "".into()))
    }

    /// Checks parameters, a JSON object, and returns whether it reads tokens with them and the tasks it
    /// supports.
    ///
    /// # Errors
    /// If a parameter is unknown, of another type or out of range, or the plugin fails.
    pub fn needs(&self, parameters: &Value) -> Result<FusionNeeds> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Describe };
        let reply = self.plugin.ask(
            Question::FusionNeeds,
            self.id.as_str().into(),
            parameters.to_string().as_str().into(),
        );
        reader.json(&reader.take(reply)?, "needs")
    }

    /// Fits or builds on the arrays that [`FusionSpec`] describes, and checks the result: a valid graph with
    /// finite weights and the ports that [`Fused`] describes.
    ///
    /// # Errors
    /// If the plugin fails or its result is invalid.
    pub fn fit(
        &self,
        spec: &FusionSpec,
        data: &[(&str, BorrowedArray<'_>)],
        parameters: &Value,
        services: &dyn HostServices,
    ) -> Result<Fused> {
        let reader = ReplyReader { tag: &self.tag, phase: Phase::Fit };
        let needs = self.needs(parameters)?;
        let context = serde_json::to_value(spec)
            .map_err(|e| HostError::new(Code::INVALID, Phase::Fit, e.to_string()).of(&self.tag))?;
        let outcome =
            aligner::fit(&reader, &self.id, data, parameters, &context, services, |job, context| {
                self.plugin.fit(ComponentKind::Fusion, job, context)
            })?;
        let report: FusionReport = reader.json(&outcome.report, "notes")?;
        let bytes = reader.check(aligner::graphs(&outcome, &["fused"]))?;
        let bytes = reader.check(bytes[0].ok_or_else(|| "it returned no graph `fused`".to_owned()))?;
        let graph = reader.check(verify::graph(bytes, "fused"))?;
        reader.check(ports(&graph, spec, needs.tokens))?;
        Ok(Fused { graph, notes: report.notes })
    }
}

/// Checks the ports: at least one input of each modality, the outputs of the task, and optionally attention
/// weights.
fn ports(graph: &Graph, spec: &FusionSpec, tokens: bool) -> Result<(), String> {
    let own: Vec<String> = graph.inputs().into_iter().map(|port| port.name).collect();
    let mut inputs: Vec<(String, Vec<AxisRequirement>)> = Vec::new();
    for Modality { name, pooled_dim, token_dim } in &spec.modalities {
        let mut known = vec![(
            format!("{name}.pooled"),
            vec![AxisRequirement::Batch, AxisRequirement::Exactly(*pooled_dim)],
        )];
        if let Some(width) = token_dim.filter(|_| tokens) {
            known.push((
                format!("{name}.tokens"),
                vec![AxisRequirement::Batch, AxisRequirement::Free, AxisRequirement::Exactly(width)],
            ));
        }
        known.push((format!("{name}.mask"), vec![AxisRequirement::Batch, AxisRequirement::Free]));
        let taken: Vec<_> = known.iter().filter(|(port, _)| own.contains(port)).cloned().collect();
        if taken.is_empty() {
            let known: Vec<&str> = known.iter().map(|(port, _)| port.as_str()).collect();
            return Err(format!(
                "its graph `fused` has no input of the modality {name}; possible inputs: {}",
                known.join(", ")
            ));
        }
        inputs.extend(taken);
    }
    let inputs: Vec<(&str, &[AxisRequirement])> =
        inputs.iter().map(|(name, axes)| (name.as_str(), axes.as_slice())).collect();
    let labels = spec.task.as_ref().filter(|task| task.has_logits()).map(|task| task.labels.len());
    let logits = [AxisRequirement::Batch, AxisRequirement::Exactly(labels.unwrap_or_default())];
    let mut outputs: Vec<(&str, &[AxisRequirement])> =
        vec![("fused", &[AxisRequirement::Batch, AxisRequirement::Fixed])];
    outputs.extend(labels.map(|_| ("logits", &logits[..])));
    let attention: Vec<String> = spec.modalities.iter().map(|m| format!("attention.{}", m.name)).collect();
    let attention = attention.iter().filter(|name| tokens && graph.output(name).is_ok());
    outputs
        .extend(attention.map(|name| (name.as_str(), &[AxisRequirement::Batch, AxisRequirement::Free][..])));
    verify::ports(graph, "fused", &inputs, &outputs)
}
