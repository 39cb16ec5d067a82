//! Checks the graphs that plugins return.

use std::path::Path;

use chiasm_graph::{DType, Dim, Graph, Port, TensorData};
use chiasm_plugin::EncoderSpec;

/// A requirement on the length of an axis of a port.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AxisRequirement {
    /// The batch axis, which must not be fixed.
    Batch,
    /// Another axis that must not be fixed, such as the number of tokens.
    Free,
    /// Fixed to this length.
    Exactly(usize),
    /// Fixed to any length.
    Fixed,
    /// Any length.
    Any,
}

/// Parses a graph and checks that it is a valid learned graph with finite weights.
pub(crate) fn graph(bytes: &[u8], role: &str) -> Result<Graph, String> {
    let graph = Graph::from_bytes(bytes).map_err(|e| format!("its graph `{role}` cannot be parsed: {e}"))?;
    graph.verify_learned().map_err(|e| format!("its graph `{role}` is invalid: {e}"))?;
    for name in graph.weight_names() {
        let weight = graph.weight(name).map_err(|e| format!("its graph `{role}`: {e}"))?;
        if !finite(weight.data()) {
            return Err(format!("its graph `{role}` has an infinite number in the weight `{name}`"));
        }
    }
    Ok(graph)
}

/// Checks that a graph has exactly these ports, given by name and axes.
pub(crate) fn ports(
    graph: &Graph,
    role: &str,
    inputs: &[(&str, &[AxisRequirement])],
    outputs: &[(&str, &[AxisRequirement])],
) -> Result<(), String> {
    all(&graph.inputs(), inputs, &format!("input of its graph `{role}`"))?;
    all(&graph.outputs(), outputs, &format!("output of its graph `{role}`"))
}

/// Returns the length of the last axis of an output, which must be fixed.
pub(crate) fn last(graph: &Graph, output: &str, role: &str) -> Result<usize, String> {
    let port = graph.outputs().into_iter().find(|port| port.name == output);
    port.and_then(|port| port.fixed(-1))
        .ok_or_else(|| format!("the output `{output}` of its graph `{role}` has no fixed last axis"))
}

/// Parses and checks a head: its outputs are inputs of the model, with their types and ranks. Unlike a
/// learned graph it may use any operator, because it may hold another frozen model.
pub(crate) fn head(bytes: &[u8], spec: &EncoderSpec) -> Result<Graph, String> {
    let graph = Graph::from_bytes(bytes).map_err(|e| format!("its graph `head` cannot be parsed: {e}"))?;
    graph.verify().map_err(|e| format!("its graph `head` is invalid: {e}"))?;
    let outputs = graph.outputs();
    for port in &outputs {
        let Some(input) = spec.inputs.iter().find(|input| input.name == port.name) else {
            let inputs = spec.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "its graph `head` has the output `{}`, which is not an input of the encoder `{}`; its inputs \
                 are: {inputs}",
                port.name, spec.name
            ));
        };
        let ranks = (port.dims.as_ref().map(Vec::len), input.dims.as_ref().map(Vec::len));
        if port.dtype != input.dtype || matches!(ranks, (Some(made), Some(taken)) if made != taken) {
            return Err(format!(
                "its graph `head` gives {port}, but the encoder `{}` takes {} of rank {}",
                spec.name,
                input.dtype,
                ranks.1.map_or_else(|| "any".to_owned(), |rank| rank.to_string())
            ));
        }
    }
    Ok(graph)
}

/// Checks a tail: its inputs are ports of the model or tensors of the adapter; its outputs are `tokens`,
/// `mask` and `pooled`.
pub(crate) fn tail(graph: &Graph, spec: &EncoderSpec, own: &[Port]) -> Result<(), String> {
    use AxisRequirement::{Any, Batch};
    let role = "tail";
    let model = spec
        .outputs
        .iter()
        .chain(&spec.inputs)
        .chain(&spec.inner)
        .map(|port| (port.name.as_str(), port.dtype));
    let known: Vec<(&str, DType)> =
        model.chain(own.iter().map(|port| (port.name.as_str(), port.dtype))).collect();
    for port in graph.inputs() {
        let Some((_, dtype)) = known.iter().find(|(name, _)| *name == port.name) else {
            let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "its graph `tail` has the input `{}`, which the encoder `{}` lacks; it has: {names}",
                port.name, spec.name
            ));
        };
        if *dtype != port.dtype {
            return Err(format!(
                "its graph `tail` has the input `{}` of type {}, but the encoder has it as {dtype}",
                port.name, port.dtype
            ));
        }
    }
    let expected: [(&str, &[AxisRequirement]); 3] =
        [("tokens", &[Batch, Any, Any]), ("mask", &[Batch, Any]), ("pooled", &[Batch, Any])];
    all(&graph.outputs(), &expected, &format!("output of its graph `{role}`"))
}

/// Returns a path as UTF-8, which the JSON of a specification requires.
pub(crate) fn utf8(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("the path {} is not UTF-8", path.display()))
}

fn all(ports: &[Port], expected: &[(&str, &[AxisRequirement])], what: &str) -> Result<(), String> {
    for (name, axes) in expected {
        let port = ports.iter().find(|port| port.name == *name);
        let port = port.ok_or_else(|| format!("there is no {what} `{name}`; it has: {}", names(ports)))?;
        one(port, axes).map_err(|e| format!("the {what} {port}: {e}"))?;
    }
    match ports.iter().find(|port| !expected.iter().any(|(name, _)| *name == port.name)) {
        Some(port) => {
            let names = expected.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            Err(format!("unexpected {what} `{}`; expected only: {names}", port.name))
        }
        None => Ok(()),
    }
}

fn one(port: &Port, axes: &[AxisRequirement]) -> Result<(), String> {
    if port.dtype != DType::F32 {
        return Err(format!("expected f32, got {}", port.dtype));
    }
    let dims = port.dims.as_ref().ok_or("its rank is unknown")?;
    if dims.len() != axes.len() {
        return Err(format!("expected {} axes, got {}", axes.len(), dims.len()));
    }
    for (i, (dim, axis)) in dims.iter().zip(axes).enumerate() {
        let fits = match axis {
            AxisRequirement::Batch | AxisRequirement::Free => dim.fixed().is_none(),
            AxisRequirement::Exactly(length) => *dim == Dim::Fixed(*length),
            AxisRequirement::Fixed => dim.fixed().is_some_and(|length| length > 0),
            AxisRequirement::Any => true,
        };
        if !fits {
            let expected = match axis {
                AxisRequirement::Batch => "the free batch axis".to_owned(),
                AxisRequirement::Free => "a free axis".to_owned(),
                AxisRequirement::Exactly(length) => format!("length {length}"),
                AxisRequirement::Fixed | AxisRequirement::Any => "a fixed length".to_owned(),
            };
            return Err(format!("expected {expected} at axis {i}, got {dim}"));
        }
    }
    Ok(())
}

fn names(ports: &[Port]) -> String {
    ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn finite(data: &TensorData) -> bool {
    match data {
        TensorData::F32(values) => values.iter().all(|value| value.is_finite()),
        TensorData::F64(values) => values.iter().all(|value| value.is_finite()),
        _ => true,
    }
}
