//! Joining a model with the head and the tail of its adapter.

use crate::base::{error::Error, problem::Problem};
use chiasm_graph::{Graph, Port};
use chiasm_host::ModelInput;

/// Joins a head with its model. The result has the inputs of the head, the inputs of the model that the head
/// does not give, and the outputs of the model.
///
/// # Errors
/// If an output of the head does not fit the input of that name.
pub(super) fn with_head(name: &str, head: &Graph, model: &Graph) -> Result<Graph, Error> {
    let context = || format!("model {name:?} and its head");
    let prefixed = head.prefixed("head");
    let back: Vec<(String, String)> =
        head.inputs().iter().map(|p| (format!("head/{}", p.name), p.name.clone())).collect();
    let back: Vec<(&str, &str)> = back.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let prefixed = prefixed.renamed(&back).map_err(Error::graph(context()))?;
    let links: Vec<(String, String)> =
        head.outputs().iter().map(|p| (format!("head/{}", p.name), p.name.clone())).collect();
    let links: Vec<(&str, &str)> = links.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    prefixed.join(model, &links).map_err(Error::graph(context()))
}

/// Joins a model with its tail. The result has the inputs of the model, the tensors of the adapter that the
/// tail reads, and the outputs tokens, mask and pooled.
///
/// The inputs of the tail are named like ports or inner tensors of the model, or like tensors of the adapter.
///
/// # Errors
/// If the model does not have a tensor that the tail needs.
pub(super) fn with_tail(
    name: &str,
    model: &Graph,
    tail: &Graph,
    made: &[ModelInput],
) -> Result<Graph, Error> {
    let context = || format!("model {name:?} and its tail");
    let inputs = model.inputs();
    let mut model = model.clone();
    let mut links = Vec::new();
    for port in tail.inputs() {
        let own = made.iter().any(|m| m.name == port.name);
        if own || inputs.iter().any(|i| i.name == port.name) {
            continue; // an input of the result
        }
        if model.outputs().iter().all(|o| o.name != port.name) {
            model = model.expose(&port.name).map_err(Error::graph(context()))?;
        }
        links.push(port.name);
    }
    let prefixed = tail.prefixed("tail");
    let back: Vec<(String, String)> = (tail.inputs().iter().chain(&tail.outputs()))
        .map(|p| (format!("tail/{}", p.name), p.name.clone()))
        .filter(|(_, to)| !links.contains(to))
        .collect();
    let back: Vec<(&str, &str)> = back.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let tail = prefixed.renamed(&back).map_err(Error::graph(context()))?;
    let links: Vec<(&str, String)> = links.iter().map(|l| (l.as_str(), format!("tail/{l}"))).collect();
    let links: Vec<(&str, &str)> = links.iter().map(|(a, b)| (*a, b.as_str())).collect();
    let joined = model.join(&tail, &links).map_err(Error::graph(context()))?;
    joined.extract(&["tokens", "mask", "pooled"]).map_err(Error::graph(context()))
}

/// Returns the width of the pooled vectors of an encoder.
///
/// # Errors
/// If the graph does not fix it.
pub(super) fn pooled_dim(name: &str, graph: &Graph) -> Result<usize, Problem> {
    let code = "chiasm::model::ports";
    let pooled = graph.output("pooled").map_err(|e| Problem::new(code, format!("model {name:?}: {e}")))?;
    pooled.fixed(-1).ok_or_else(|| {
        let message = format!("the width of the pooled vectors of {name:?} is unknown: {pooled}");
        Problem::new(code, message).help("export the model with a fixed last axis")
    })
}

/// Checks that an adapter makes every input of its encoder.
///
/// # Errors
/// If it does not.
pub(super) fn check_inputs(name: &str, graph: &Graph, made: &[ModelInput]) -> Result<(), Problem> {
    for port in graph.inputs() {
        if made.iter().all(|m| m.name != port.name) {
            let made = made.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
            let message = format!("model {name:?} needs the input {port}, but its adapter produces {made}");
            return Err(Problem::new("chiasm::model::ports", message));
        }
    }
    Ok(())
}

/// Describes the ports of a model.
pub(super) fn listed(model: &Graph) -> String {
    let list = |ports: Vec<Port>| ports.iter().map(Port::to_string).collect::<Vec<_>>().join(", ");
    format!("in {}; out {}", list(model.inputs()), list(model.outputs()))
}
