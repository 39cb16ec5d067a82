//! Type inference: the element types of inner values, so that an inner tensor can become a port.
//!
//! Axes are those that the model states (ports, weights, annotated values); they are not inferred here.

use std::collections::HashMap;

use onnx_protobuf::{GraphProto, NodeProto};

use crate::{
    DType, Dim, Graph, Port,
    operators::{self, OutputTypes},
    walk::subgraphs,
};

/// The element type of each value in scope, and its axes where the model states them.
pub(crate) type KnownTypes = HashMap<String, (DType, Option<Vec<Dim>>)>;

/// Infers the types of all values outside subgraphs, as far as possible.
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

/// Adds the values of a graph to those known outside it.
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

/// The element types of a node's outputs, as far as they can be inferred.
fn outputs(node: &NodeProto, known: &KnownTypes) -> Vec<Option<DType>> {
    let Some(operator) = operators::of(node) else { return vec![None; node.output.len()] };
    if let OutputTypes::Subgraph { skipped } = operator.outputs {
        return nested(node, skipped, known);
    }
    let input_type = |input: usize| known.get(node.input.get(input)?).map(|(dtype, _)| *dtype);
    (0..node.output.len()).map(|output| operator.dtype(node, output, &input_type)).collect()
}

/// The types of the outputs of a node's subgraph, after the first few.
fn nested(node: &NodeProto, skipped: usize, known: &KnownTypes) -> Vec<Option<DType>> {
    let Some(body) = subgraphs(node).next() else { return Vec::new() };
    let mut inner = known.clone();
    follow(body, &mut inner);
    let types = body.output.iter().skip(skipped);
    types.map(|port| inner.get(&port.name).map(|(dtype, _)| *dtype)).collect()
}
