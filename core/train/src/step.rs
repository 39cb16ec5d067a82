//! The two graphs of a training: the step, and the validation. Both gather their rows from the bound data by index.

use chiasm_graph::{Builder, DType, Dim, Graph, Port, Result};
use chiasm_objective::{LOSS, TrainingOptions};
use chiasm_runtime::StateVariable;

use crate::optimizer::{self, OptimizerGraph};
use crate::task::{CONTROL, CheckedObjective};

/// The input that takes the numbers of a batch's rows, `i64[batch]`.
pub(crate) const INDEX: &str = "control/rows";

/// Where the data of a batch port is bound.
pub(crate) fn data_port(port: &str) -> String {
    format!("{CONTROL}data/{port}")
}

/// A training step: its graph and its state, the weights first.
pub(crate) fn training(
    task: &CheckedObjective,
    options: &TrainingOptions,
) -> Result<(Graph, Vec<StateVariable>)> {
    let backward = task.forward.gradient(LOSS, &task.trained())?;
    let OptimizerGraph { graph: update, state } = optimizer::update(&task.weights, options)?;
    let gradients: Vec<String> = task.trained().iter().map(|name| format!("gradient/{name}")).collect();
    let links: Vec<(&str, &str)> = gradients.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let mut step = gathered(task, &backward)?.join(&update, &links)?;
    if let Some(after) = &task.after {
        step = constrained(task, &step, after)?;
    }
    let weights = task.weights.iter().map(|weight| StateVariable {
        input: weight.name.clone(),
        output: format!("next/{}", weight.name),
        first: weight.first.clone(),
    });
    Ok((step.simplified(), weights.chain(state).collect()))
}

/// The judgement of validation rows: the judge first, then the terms. Weights are given.
pub(crate) fn validation(task: &CheckedObjective) -> Result<Graph> {
    let terms = task.terms.iter().map(String::as_str).filter(|name| *name != task.judge);
    let outputs: Vec<&str> = std::iter::once(task.judge).chain(terms).collect();
    Ok(gathered(task, &task.lifted.extract(&outputs)?)?.simplified())
}

/// A graph whose batch ports are fed from the data.
fn gathered(task: &CheckedObjective, graph: &Graph) -> Result<Graph> {
    let mut b = Builder::new("rows");
    let index = b.input(INDEX, DType::I64, &[Dim::named("batch")])?;
    let taken: Vec<&Port> = task.ports.iter().filter(|port| graph.input(&port.name).is_ok()).collect();
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

/// A step whose next weights went through `after`.
fn constrained(task: &CheckedObjective, step: &Graph, after: &Graph) -> Result<Graph> {
    let trained = task.trained();
    let inputs: Vec<String> = after.inputs().into_iter().map(|port| port.name).collect();
    let next: Vec<(String, &str)> = inputs
        .iter()
        .filter(|name| trained.contains(&name.as_str()))
        .map(|name| (format!("next/{name}"), name.as_str()))
        .collect();
    let links: Vec<(&str, &str)> = next.iter().map(|(from, to)| (from.as_str(), *to)).collect();
    step.join(after, &links)
}
