//! Element types of inner values, followed through the operators: enough to make an inner tensor a port.
//!
//! Lengths of axes are taken where the model states them (ports, weights, annotated values) and never inferred: the
//! runtime does that, with the real shapes at hand.

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
        for (place, name) in node.output.iter().enumerate() {
            if !name.is_empty()
                && !known.contains_key(name)
                && let Some(dtype) = output(node, place, known)
            {
                known.insert(name.clone(), (dtype, None));
            }
        }
    }
}

/// The element type of one output of a node.
fn output(node: &NodeProto, place: usize, known: &Known) -> Option<DType> {
    let of_input = |number: usize| known.get(node.input.get(number)?).map(|(dtype, _)| *dtype);
    let number = |name: &str| attribute(node, name).and_then(|attribute| i32::try_from(attribute.i).ok());
    if !node.domain.is_empty() {
        return None;
    }
    match node.op_type.as_str() {
        "Cast" => DType::from_onnx(number("to")?),
        "Constant" | "ConstantOfShape" => constant(node),
        "DequantizeLinear" => match number("output_dtype").filter(|number| *number != 0) {
            Some(number) => DType::from_onnx(number),
            None => of_input(1),
        },
        "QuantizeLinear" => match number("output_dtype").filter(|number| *number != 0) {
            Some(number) => DType::from_onnx(number),
            None if node.input.get(2).is_some_and(|name| !name.is_empty()) => of_input(2),
            None => Some(DType::U8),
        },
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => {
            number("dtype").map_or_else(|| of_input(0), DType::from_onnx)
        }
        "RandomNormal" | "RandomUniform" => number("dtype").map_or(Some(DType::F32), DType::from_onnx),
        // Of a loop, the body's outputs follow the condition; of a branch, either side has the same types.
        "If" | "Scan" => nested(node, place, known),
        "Loop" => nested(node, place + 1, known),
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

fn nested(node: &NodeProto, place: usize, known: &Known) -> Option<DType> {
    let body = subgraphs(node).next()?;
    let mut inner = known.clone();
    follow(body, &mut inner);
    inner.get(&body.output.get(place)?.name).map(|(dtype, _)| *dtype)
}
