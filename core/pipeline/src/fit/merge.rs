//! Joining encoders, heads and fusion to the merged model of a plan.

use crate::{
    base::error::Error,
    plan::Plan,
    run::{
        graphs::{self, EncoderInputNames, EncoderPart, FUSED, LOGITS, Tower},
        model::LearnedModel,
    },
};
use chiasm_graph::Graph;
use serde_json::Value;

/// Joins the encoders of a plan with the fitted heads and fusion.
///
/// # Errors
/// If the graphs cannot be joined.
pub fn merge(plan: &Plan, model: &LearnedModel, parameters: &Value) -> Result<Graph, Error> {
    let mut inputs = input_names(plan).into_iter();
    let mut towers = Vec::new();
    for (modality, head) in plan.modalities.iter().zip(&model.heads) {
        let parts: Vec<EncoderPart<'_>> = (modality.encoders.iter())
            .map(|e| EncoderPart {
                name: &e.name,
                graph: &e.graph,
                inputs: inputs.next().unwrap_or_default(),
            })
            .collect();
        let encoders = graphs::encoders(&modality.name, &parts, &model.token_ports(&modality.name))?;
        towers.push(Tower { encoders, head: head.clone() });
    }
    let graph = graphs::merged(&towers, model.fusion.as_ref(), false)?;
    Ok(described(graph, plan, parameters))
}

/// Returns pairs for every encoder, in the order of the modalities: the name of an input, and its name in the
/// merged model.
pub fn input_names(plan: &Plan) -> Vec<Vec<(String, String)>> {
    let all: Vec<EncoderInputNames<'_>> = (plan.modalities.iter())
        .flat_map(|m| m.encoders.iter().map(move |encoder| (m, encoder)))
        .map(|(m, e)| EncoderInputNames {
            modality: &m.name,
            encoder: &e.name,
            inputs: e.graph.inputs().into_iter().map(|port| port.name).collect(),
        })
        .collect();
    graphs::input_names(&all)
}

/// Adds the metadata of the merged model: its encoders, aligner, fusion and task.
fn described(graph: Graph, plan: &Plan, parameters: &Value) -> Graph {
    let encoders: Vec<&str> =
        plan.modalities.iter().flat_map(|m| &m.encoders).map(|e| e.name.as_str()).collect();
    let mut graph = graph
        .with_metadata("chiasm.version", env!("CARGO_PKG_VERSION"))
        .with_metadata("chiasm.encoders", encoders.join(","))
        .with_metadata("chiasm.aligner", &plan.recipe.align.plugin.id.value)
        .with_metadata("chiasm.aligner_parameters", parameters.to_string())
        .with_metadata("chiasm.score", "dot product of the embeds of two modalities");
    if let Some(anchor) = plan.anchor() {
        graph = graph.with_metadata("chiasm.anchor", anchor);
    }
    if plan.recipe.fuse.is_some() {
        graph = graph.with_metadata("chiasm.fused", FUSED);
    }
    if let Some(task) = plan.data.task.as_ref().map(|plan| &plan.task) {
        graph = graph.with_metadata("chiasm.task", task.kind.as_str());
        if task.has_logits() {
            let labels = Value::from(task.labels.clone()).to_string();
            graph = graph.with_metadata("chiasm.answers", LOGITS).with_metadata("chiasm.labels", labels);
        }
    }
    graph
}
