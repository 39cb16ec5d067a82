//! What plugins give back is checked here, against what their traits promise.

use std::path::Path;

use chiasm_graph::{DType, Dim, Graph, Port, TensorData};
use chiasm_plugin::EncoderSpec;

/// A length that a port's axis must have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AxisRequirement {
    /// The number of items: must not be fixed.
    Batch,
    /// The number of tokens: must not be fixed.
    Free,
    /// Exactly this long, and fixed.
    Exactly(usize),
    /// Fixed, whatever it is.
    Fixed,
    /// Anything.
    Any,
}

/// A graph as it came, parsed, sound, in the operators of learned graphs, with finite weights.
pub(crate) fn graph(bytes: &[u8], role: &str) -> Result<Graph, String> {
    let graph = Graph::from_bytes(bytes).map_err(|e| format!("its graph `{role}` does not read: {e}"))?;
    graph.verify_learned().map_err(|e| format!("its graph `{role}` is not sound: {e}"))?;
    for name in graph.weight_names() {
        let weight = graph.weight(name).map_err(|e| format!("its graph `{role}`: {e}"))?;
        if !finite(weight.data()) {
            return Err(format!("its graph `{role}` holds an infinite number in the weight `{name}`"));
        }
    }
    Ok(graph)
}

/// The only ports are these: names, and the axes of each.
pub(crate) fn ports(
    graph: &Graph,
    role: &str,
    inputs: &[(&str, &[AxisRequirement])],
    outputs: &[(&str, &[AxisRequirement])],
) -> Result<(), String> {
    all(&graph.inputs(), inputs, &format!("input of its graph `{role}`"))?;
    all(&graph.outputs(), outputs, &format!("output of its graph `{role}`"))
}

/// The length of a fixed last axis of an output.
pub(crate) fn last(graph: &Graph, output: &str, role: &str) -> Result<usize, String> {
    let port = graph.outputs().into_iter().find(|port| port.name == output);
    port.and_then(|port| port.fixed(-1))
        .ok_or_else(|| format!("the output `{output}` of its graph `{role}` has no fixed last axis"))
}

/// A tail takes only what the model or the adapter has, and gives tokens, mask and pooled.
pub(crate) fn tail(graph: &Graph, spec: &EncoderSpec, own: &[Port]) -> Result<(), String> {
    use AxisRequirement::{Any, Batch};
    let role = "tail";
    let model = spec.outputs.iter().chain(&spec.inputs).map(|port| (port.name.as_str(), port.dtype));
    let known: Vec<(&str, DType)> =
        model.chain(own.iter().map(|port| (port.name.as_str(), port.dtype))).collect();
    for port in graph.inputs() {
        let Some((_, dtype)) = known.iter().find(|(name, _)| *name == port.name) else {
            let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "its graph `tail` takes `{}`; the encoder `{}` has: {names}",
                port.name, spec.name
            ));
        };
        if *dtype != port.dtype {
            return Err(format!(
                "its graph `tail` takes `{}` as {}, the encoder has it as {dtype}",
                port.name, port.dtype
            ));
        }
    }
    let expected: [(&str, &[AxisRequirement]); 3] =
        [("tokens", &[Batch, Any, Any]), ("mask", &[Batch, Any]), ("pooled", &[Batch, Any])];
    all(&graph.outputs(), &expected, &format!("output of its graph `{role}`"))
}

/// Paths travel as bytes, specifications as JSON: a path that is not UTF-8 cannot be in one.
pub(crate) fn utf8(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("the path {} is not UTF-8", path.display()))
}

fn all(ports: &[Port], expected: &[(&str, &[AxisRequirement])], what: &str) -> Result<(), String> {
    for (name, axes) in expected {
        let port = ports.iter().find(|port| port.name == *name);
        let port = port.ok_or_else(|| format!("there is no {what} `{name}`; there are: {}", names(ports)))?;
        one(port, axes).map_err(|e| format!("the {what} {port}: {e}"))?;
    }
    match ports.iter().find(|port| !expected.iter().any(|(name, _)| *name == port.name)) {
        Some(port) => {
            let names = expected.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            Err(format!("an {what} `{}` was not promised; only: {names}", port.name))
        }
        None => Ok(()),
    }
}

fn one(port: &Port, axes: &[AxisRequirement]) -> Result<(), String> {
    if port.dtype != DType::F32 {
        return Err(format!("expected f32, got {}", port.dtype));
    }
    let dims = port.dims.as_ref().ok_or("its rank is not known")?;
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
