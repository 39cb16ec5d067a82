//! Builds the two graphs of a training, the step and the validation. Both gather rows from the bound data by
//! index.

use chiasm_graph::{Builder, DType, Dim, Graph, Port, Result};
use chiasm_objective::{LOSS, TrainingOptions};
use chiasm_runtime::StateVariable;

use crate::checked_objective::{CONTROL, CheckedObjective};
use crate::optimizer::{self, OptimizerGraph};

/// The input with the row numbers of a batch, `i64[batch]`.
pub(crate) const INDEX: &str = "control/rows";

/// Returns the input that the data of a batch port is bound to.
pub(crate) fn data_port(port: &str) -> String {
    format!("{CONTROL}data/{port}")
}

/// Builds a training step; returns its graph and its state, the weights first.
pub(crate) fn training(
    objective: &CheckedObjective,
    options: &TrainingOptions,
) -> Result<(Graph, Vec<StateVariable>)> {
    // Equal parts are merged before, so that their cotangents are added before they are carried back.
    let backward = objective.forward.simplified().gradient(LOSS, &objective.trained())?;
    let OptimizerGraph { graph: update, state } = optimizer::update(&objective.weights, options)?;
    let gradients: Vec<String> = objective.trained().iter().map(|name| format!("gradient/{name}")).collect();
    let links: Vec<(&str, &str)> = gradients.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let mut step = gathered(objective, &backward)?.join(&update, &links)?;
    if let Some(after) = &objective.after {
        step = constrained(objective, &step, after)?;
    }
    let weights = objective.weights.iter().map(|weight| StateVariable {
        input: weight.name.clone(),
        output: format!("next/{}", weight.name),
        first: weight.first.clone(),
    });
    Ok((step.simplified(), weights.chain(state).collect()))
}

/// Builds the validation graph. Its outputs are the score and then the other terms; the weights are inputs.
pub(crate) fn validation(objective: &CheckedObjective) -> Result<Graph> {
    let terms = objective.terms.iter().map(String::as_str).filter(|name| *name != objective.score);
    let outputs: Vec<&str> = std::iter::once(objective.score).chain(terms).collect();
    Ok(gathered(objective, &objective.lifted.extract(&outputs)?)?.simplified())
}

/// Joins a graph with a gather of its batch ports from the bound data.
fn gathered(objective: &CheckedObjective, graph: &Graph) -> Result<Graph> {
    let mut b = Builder::new("rows");
    let index = b.input(INDEX, DType::I64, &[Dim::named("batch")])?;
    let taken: Vec<&Port> = objective.ports.iter().filter(|port| graph.input(&port.name).is_ok()).collect();
    for port in &taken {
        let rest = port.dims.iter().flatten().skip(1).cloned();
        let rows: Vec<Dim> = std::iter::once(Dim::named("rows")).chain(rest.clone()).collect();
        let batch: Vec<Dim> = std::iter::once(Dim::named("batch")).chain(rest).collect();
        let data = b.input(&data_port(&port.name), port.dtype, &rows)?;
        let chosen = b.gather(&data, &index, 0);
        b.output(&port.name, &chosen, port.dtype, &batch);
    }
    let links: Vec<(&str, &str)> =
        taken.iter().map(|port| (port.name.as_str(), port.name.as_str())).collect();
    b.finish()?.join(graph, &links)
}

/// Appends `after` to a step: it transforms the next weights.
fn constrained(objective: &CheckedObjective, step: &Graph, after: &Graph) -> Result<Graph> {
    let trained = objective.trained();
    let inputs: Vec<String> = after.inputs().into_iter().map(|port| port.name).collect();
    let next: Vec<(String, &str)> = inputs
        .iter()
        .filter(|name| trained.contains(&name.as_str()))
        .map(|name| (format!("next/{name}"), name.as_str()))
        .collect();
    let links: Vec<(&str, &str)> = next.iter().map(|(from, to)| (from.as_str(), *to)).collect();
    step.join(after, &links)
}
