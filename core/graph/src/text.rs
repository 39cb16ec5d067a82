//! Graphs as text, with one line per node, for reading and for comparing.
//!
//! Small weights are shown with their values, others with the start of their SHA-256 digest, so that every
//! changed weight changes the text.

use std::fmt::Write as _;

use onnx_protobuf::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType};

use crate::{
    DType, Graph, Port, TensorData,
    graph::operator,
    port::type_text,
    types::{self, KnownTypes},
    weight,
};

/// Tensors with at most this many elements are shown with their values.
const SHOWN: usize = 8;

impl Graph {
    /// Returns the graph as text; equal graphs have equal text.
    pub fn to_text(&self) -> String {
        let mut out = format!("graph {:?}\n", self.name());
        line(&mut out, 0, &format!("ir {}", self.ir_version()));
        for import in &self.header.opset_import {
            let domain = if import.domain.is_empty() { "ai.onnx" } else { &import.domain };
            line(&mut out, 0, &format!("opset {domain} {}", import.version));
        }
        for (key, value) in self.metadata() {
            line(&mut out, 0, &format!("note {key} = {value:?}"));
        }
        for (kind, ports) in [("input", self.inputs()), ("output", self.outputs())] {
            for port in ports {
                line(&mut out, 0, &format!("{kind} %{} {}", port.name, port.type_text()));
            }
        }
        for (name, tensor) in &self.weights {
            line(&mut out, 0, &format!("weight %{name} {}", tensor_text(tensor)));
        }
        let known = types::of(self);
        write_inner(&mut out, 0, &self.graph, Some(&known));
        for function in &self.header.functions {
            let domain = &function.domain;
            let ports = format!("({}) -> ({})", values(&function.input), values(&function.output));
            line(&mut out, 0, &format!("function {domain}.{}{ports}", function.name));
            function.node.iter().for_each(|node| write_node(&mut out, 1, node, None));
        }
        out
    }
}

fn write_inner(out: &mut String, depth: usize, graph: &GraphProto, known: Option<&KnownTypes>) {
    for tensor in &graph.initializer {
        line(out, depth, &format!("weight %{} {}", tensor.name, tensor_text(tensor)));
    }
    for sparse in &graph.sparse_initializer {
        let text = format!("{:?} {}", sparse.dims, tensor_text(&sparse.values));
        line(out, depth, &format!("sparse weight %{} {text}", sparse.values.name));
    }
    graph.node.iter().for_each(|node| write_node(out, depth, node, known));
}

fn write_node(out: &mut String, depth: usize, node: &NodeProto, known: Option<&KnownTypes>) {
    let typed = |name: &String| match known.and_then(|known| known.get(name)) {
        Some((dtype, dims)) => format!("%{name} {}", type_text(*dtype, dims.as_deref())),
        None => format!("%{name}"),
    };
    let outputs: Vec<String> = node.output.iter().map(typed).collect();
    let mut attributes: Vec<&AttributeProto> = node.attribute.iter().collect();
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    let plain: Vec<String> = attributes.iter().filter_map(|attribute| attribute_text(attribute)).collect();
    let plain = if plain.is_empty() { String::new() } else { format!(" {{{}}}", plain.join(", ")) };
    let call = format!("{}({}){plain}", operator(node), values(&node.input));
    line(out, depth, &format!("{} = {call}", outputs.join(", ")));
    for attribute in attributes {
        for inner in attribute.g.as_ref().into_iter().chain(&attribute.graphs) {
            let ports = |ports: &[onnx_protobuf::ValueInfoProto]| {
                let text = |port| match Port::from_proto(port) {
                    Ok(port) => format!("%{} {}", port.name, port.type_text()),
                    Err(_) => format!("%{}", port.name),
                };
                ports.iter().map(text).collect::<Vec<_>>().join(", ")
            };
            let header =
                format!("{} ({}) -> ({})", attribute.name, ports(&inner.input), ports(&inner.output));
            line(out, depth + 1, &header);
            write_inner(out, depth + 2, inner, None);
        }
    }
}

/// An attribute as `name=value`; `None` for subgraphs, which have lines of their own.
fn attribute_text(attribute: &AttributeProto) -> Option<String> {
    let value = match attribute.type_.enum_value() {
        _ if !attribute.ref_attr_name.is_empty() => format!("@{}", attribute.ref_attr_name),
        Ok(AttributeType::GRAPH | AttributeType::GRAPHS) => return None,
        Ok(AttributeType::FLOAT) => attribute.f.to_string(),
        Ok(AttributeType::INT) => attribute.i.to_string(),
        Ok(AttributeType::STRING) => format!("{:?}", String::from_utf8_lossy(&attribute.s)),
        Ok(AttributeType::TENSOR) => tensor_text(&attribute.t),
        Ok(AttributeType::FLOATS) => format!("{:?}", attribute.floats),
        Ok(AttributeType::INTS) => format!("{:?}", attribute.ints),
        Ok(AttributeType::STRINGS) => {
            let texts = attribute.strings.iter().map(|text| String::from_utf8_lossy(text));
            format!("{:?}", texts.collect::<Vec<_>>())
        }
        _ => "..".to_owned(),
    };
    Some(format!("{}={value}", attribute.name))
}

fn tensor_text(tensor: &TensorProto) -> String {
    let lengths = tensor.dims.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let Some(dtype) = DType::from_onnx(tensor.data_type) else {
        return format!("type{}[{lengths}] sha256:{}", tensor.data_type, hash_start(tensor));
    };
    match weight::from_proto(tensor) {
        Ok(small) if small.len() <= SHOWN => format!("{dtype}[{lengths}] {}", elements_text(small.data())),
        _ => format!("{dtype}[{lengths}] sha256:{}", hash_start(tensor)),
    }
}

fn elements_text(data: &TensorData) -> String {
    match data {
        TensorData::F32(values) => format!("{values:?}"),
        TensorData::F64(values) => format!("{values:?}"),
        TensorData::F16(values) => format!("{values:?}"),
        TensorData::BF16(values) => format!("{values:?}"),
        TensorData::I64(values) => format!("{values:?}"),
        TensorData::I32(values) => format!("{values:?}"),
        TensorData::I16(values) => format!("{values:?}"),
        TensorData::I8(values) => format!("{values:?}"),
        TensorData::U64(values) => format!("{values:?}"),
        TensorData::U32(values) => format!("{values:?}"),
        TensorData::U16(values) => format!("{values:?}"),
        TensorData::U8(values) => format!("{values:?}"),
        TensorData::Bool(values) => format!("{values:?}"),
    }
}

fn hash_start(tensor: &TensorProto) -> String {
    const DIGITS: usize = 16;
    let mut hash = match DType::from_onnx(tensor.data_type) {
        // Tensors in attributes may have their elements in the older typed fields.
        Some(_) if tensor.raw_data.is_empty() => {
            let mut normalized = tensor.clone();
            let _ = weight::normalize(&mut normalized);
            weight::sha256(&normalized)
        }
        _ => weight::sha256(tensor),
    };
    hash.truncate(DIGITS);
    hash
}

fn values(names: &[String]) -> String {
    names
        .iter()
        .map(|name| if name.is_empty() { "_".to_owned() } else { format!("%{name}") })
        .collect::<Vec<_>>()
        .join(", ")
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing into a string cannot fail.
    let _ = writeln!(out, "{:width$}{text}", "", width = depth * 2);
}
