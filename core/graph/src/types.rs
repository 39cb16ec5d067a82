//! Element types of inner values, followed through the operators: enough to make an inner tensor a port.
//!
//! Lengths of axes are taken where the model states them (ports, weights, annotated values) and never
//! inferred: the runtime does that, with the real shapes at hand.

use std::collections::HashMap;

use onnx_protobuf::{GraphProto, NodeProto};

use crate::{
    DType, Dim, Graph, Port,
    opset::{self, Flow},
    walk::{attribute, subgraphs},
};

/// What is known of the values in reach, by name.
pub(crate) type Known = HashMap<String, (DType, Option<Vec<Dim>>)>;

/// Types of all values outside subgraphs, as far as they can be told.
pub(crate) fn of(graph: &Graph) -> Known {
    let mut known = Known::new();
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
fn follow(graph: &GraphProto, known: &mut Known) {
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
fn outputs(node: &NodeProto, known: &Known) -> Vec<Option<DType>> {
    match (node.domain.as_str(), node.op_type.as_str()) {
        // Either branch has the same types; of a loop's body, the outputs follow the condition.
        ("", "If" | "Scan") => nested(node, 0, known),
        ("", "Loop") => nested(node, 1, known),
        ("", _) => {
            let of_input = |number: usize| known.get(node.input.get(number)?).map(|(dtype, _)| *dtype);
            (0..node.output.len()).map(|place| output(node, place, &of_input)).collect()
        }
        _ => Vec::new(),
    }
}

/// The element type of one output of a plain operator, from those of its inputs.
pub(crate) fn output(
    node: &NodeProto,
    place: usize,
    of_input: &dyn Fn(usize) -> Option<DType>,
) -> Option<DType> {
    let number = |name: &str| attribute(node, name).and_then(|attribute| i32::try_from(attribute.i).ok());
    let stated = |name: &str| number(name).filter(|number| *number != 0);
    match node.op_type.as_str() {
        "Cast" => DType::from_onnx(number("to")?),
        "Constant" | "ConstantOfShape" => constant(node),
        "DequantizeLinear" => stated("output_dtype").map_or_else(|| of_input(1), DType::from_onnx),
        "QuantizeLinear" => match stated("output_dtype") {
            Some(number) => DType::from_onnx(number),
            None if node.input.get(2).is_some_and(|name| !name.is_empty()) => of_input(2),
            None => Some(DType::U8),
        },
        // As many outputs as the node asks for, all alike.
        "Split" => of_input(0),
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => {
            stated("dtype").map_or_else(|| of_input(0), DType::from_onnx)
        }
        "RandomNormal" | "RandomUniform" => stated("dtype").map_or(Some(DType::F32), DType::from_onnx),
        operator => match opset::flow(operator).get(place)? {
            Flow::Like(number) => of_input(*number),
            Flow::Is(dtype) => Some(*dtype),
            Flow::Open => None,
        },
    }
}

fn constant(node: &NodeProto) -> Option<DType> {
    let value = node.attribute.first();
    match value.map(|attribute| attribute.name.as_str()) {
        Some("value") => DType::from_onnx(value?.t.data_type),
        Some("value_int" | "value_ints") => Some(DType::I64),
        Some("value_float" | "value_floats") => Some(DType::F32),
        Some(_) => None,
        None => Some(DType::F32),
    }
}

/// The types of a body's outputs after the first few.
fn nested(node: &NodeProto, skipped: usize, known: &Known) -> Vec<Option<DType>> {
    let Some(body) = subgraphs(node).next() else { return Vec::new() };
    let mut inner = known.clone();
    follow(body, &mut inner);
    let types = body.output.iter().skip(skipped);
    types.map(|port| inner.get(&port.name).map(|(dtype, _)| *dtype)).collect()
}
