//! Element types of inner values, followed through the operators: enough to make an inner tensor a port.
//!
//! Lengths of axes are taken where the model states them (ports, weights, annotated values) and never
//! inferred: the runtime does that, with the real shapes at hand.

use std::collections::HashMap;

use onnx_protobuf::{GraphProto, NodeProto};

use crate::{
    DType, Dim, Graph, Port,
    operators::{self, OutputTypes},
    walk::subgraphs,
};

/// What is known of the values in reach, by name.
pub(crate) type KnownTypes = HashMap<String, (DType, Option<Vec<Dim>>)>;

/// Types of all values outside subgraphs, as far as they can be told.
pub(crate) fn of(graph: &Graph) -> KnownTypes {
    let mut known = KnownTypes::new();
    for (name, tensor) in &graph.weights {
        if let Some(dtype) = DType::from_onnx(tensor.data_type) {
            let dims = tensor.dims.iter().map(|length| Dim::Fixed(usize::try_from(*length).unwrap_or(0)));
            known.insert(name.clone(), (dtype, Some(dims.collect())));
        }
    }
    follow(&graph.graph, &mut known);
    known
}

/// Adds the values of a graph to those known around it.
fn follow(graph: &GraphProto, known: &mut KnownTypes) {
    for value in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
        if let Ok(Port { name, dtype, dims }) = Port::from_proto(value) {
            known.insert(name, (dtype, dims));
        }
    }
    for tensor in &graph.initializer {
        if let Some(dtype) = DType::from_onnx(tensor.data_type) {
            known.insert(tensor.name.clone(), (dtype, None));
        }
    }
    for node in &graph.node {
        let types = outputs(node, known);
        for (name, dtype) in node.output.iter().zip(types) {
            if let Some(dtype) = dtype
                && !name.is_empty()
            {
                known.entry(name.clone()).or_insert((dtype, None));
            }
        }
    }
}

/// The element types of a node's outputs, as far as they can be told.
fn outputs(node: &NodeProto, known: &KnownTypes) -> Vec<Option<DType>> {
    let Some(operator) = operators::of(node) else { return vec![None; node.output.len()] };
    if let OutputTypes::Subgraph { skipped } = operator.outputs {
        return nested(node, skipped, known);
    }
    let input_type = |input: usize| known.get(node.input.get(input)?).map(|(dtype, _)| *dtype);
    (0..node.output.len()).map(|output| operator.dtype(node, output, &input_type)).collect()
}

/// The types of a body's outputs after the first few.
fn nested(node: &NodeProto, skipped: usize, known: &KnownTypes) -> Vec<Option<DType>> {
    let Some(body) = subgraphs(node).next() else { return Vec::new() };
    let mut inner = known.clone();
    follow(body, &mut inner);
    let types = body.output.iter().skip(skipped);
    types.map(|port| inner.get(&port.name).map(|(dtype, _)| *dtype)).collect()
}
