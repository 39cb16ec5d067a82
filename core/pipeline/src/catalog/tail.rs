//! Joining a model with the tail of its adapter.

use crate::base::error::Error;
use chiasm_graph::Graph;

/// Joins a model with its tail. The result has the inputs of the model, and the outputs tokens, mask and
/// pooled.
///
/// The inputs of the tail are named like ports or inner tensors of the model.
///
/// # Errors
/// If the model does not have a tensor that the tail needs.
pub(super) fn with_tail(name: &str, model: &Graph, tail: &Graph) -> Result<Graph, Error> {
    let context = || format!("model {name:?} and its tail");
    let inputs = model.inputs();
    let mut model = model.clone();
    let mut links = Vec::new();
    for port in tail.inputs() {
        if inputs.iter().any(|i| i.name == port.name) {
            continue; // the model and the tail share this input
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
