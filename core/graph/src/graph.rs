//! The graph type: ports, weights, metadata.
//!
//! Weights are kept outside the protobuf messages and shared (`Arc`), so that copies of a graph and graphs
//! composed from it share their weights.

use std::{collections::BTreeMap, fmt};

use onnx_protobuf::{GraphProto, ModelProto, NodeProto, StringStringEntryProto};

use crate::{
    Error, Port, Result, Tensor, walk,
    weight::{self, WeightMap},
};

/// An ONNX model as a value.
///
/// Methods return new graphs and share the weights with the old one.
#[derive(Clone, PartialEq)]
pub struct Graph {
    /// The model without its graph.
    pub(crate) header: ModelProto,
    /// The graph without its initializers.
    pub(crate) graph: GraphProto,
    /// The initializers.
    pub(crate) weights: WeightMap,
}

impl Graph {
    /// Returns the name of the graph.
    pub fn name(&self) -> &str {
        &self.graph.name
    }

    /// Returns the input ports, in order.
    pub fn inputs(&self) -> Vec<Port> {
        ports(&self.graph.input)
    }

    /// Returns the output ports, in order.
    pub fn outputs(&self) -> Vec<Port> {
        ports(&self.graph.output)
    }

    /// Returns one input port.
    ///
    /// # Errors
    /// [`Error::Unknown`], with the names of the input ports.
    pub fn input(&self, name: &str) -> Result<Port> {
        one("input", name, self.inputs())
    }

    /// Returns one output port.
    ///
    /// # Errors
    /// [`Error::Unknown`], with the names of the output ports.
    pub fn output(&self, name: &str) -> Result<Port> {
        one("output", name, self.outputs())
    }

    /// Returns the version of the `ai.onnx` operator set that the graph uses.
    pub fn opset(&self) -> i64 {
        self.import("").unwrap_or_default()
    }

    /// Returns the version of the ONNX format (the IR version).
    pub fn ir_version(&self) -> i64 {
        self.header.ir_version
    }

    /// Returns the number of nodes, including those in subgraphs and functions.
    pub fn node_count(&self) -> usize {
        self.op_types().values().sum()
    }

    /// Returns how often each operator is used, including subgraphs and functions. Operators outside
    /// `ai.onnx` have their domain in front.
    pub fn op_types(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.each_node(&mut |node| *counts.entry(operator(node)).or_default() += 1);
        counts
    }

    /// Returns the size of all weights in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.values().map(|tensor| weight::stored_len(tensor)).sum()
    }

    /// Returns the number of elements of all weights, by element type: `f32`, or the number of an ONNX type
    /// outside [`crate::DType`].
    pub fn parameters(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for tensor in self.weights.values() {
            let dtype = crate::DType::from_onnx(tensor.data_type);
            let name = dtype.map_or_else(|| format!("type {}", tensor.data_type), |dtype| dtype.to_string());
            let lengths = tensor.dims.iter().map(|length| u64::try_from(*length).unwrap_or_default());
            let count: &mut u64 = counts.entry(name).or_default();
            *count = count.saturating_add(lengths.fold(1, u64::saturating_mul));
        }
        counts
    }

    /// Returns the name and version of the program that made the model, or an empty text.
    pub fn producer(&self) -> String {
        let header = &self.header;
        format!("{} {}", header.producer_name, header.producer_version).trim().to_owned()
    }

    /// Returns the SHA-256 digest of each weight's little-endian bytes, in hexadecimal, by name.
    pub fn weight_hashes(&self) -> BTreeMap<String, String> {
        self.weights.iter().map(|(name, tensor)| (name.clone(), weight::sha256(tensor))).collect()
    }

    /// Returns the names of the weights, sorted.
    pub fn weight_names(&self) -> impl Iterator<Item = &str> {
        self.weights.keys().map(String::as_str)
    }

    /// Returns a copy of one weight.
    ///
    /// # Errors
    /// [`Error::Unknown`] for an unknown name, [`Error::Unsupported`] for an element type outside
    /// [`crate::DType`].
    pub fn weight(&self, name: &str) -> Result<Tensor> {
        match self.weights.get(name) {
            Some(tensor) => weight::from_proto(tensor),
            None => Err(Error::unknown("weight", name, self.weight_names())),
        }
    }

    /// Returns the model's metadata (`metadata_props`).
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let entries = self.header.metadata_props.iter();
        entries.map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    }

    /// Returns the graph with one metadata entry set.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let mut metadata = self.metadata();
        metadata.insert(key.into(), value.into());
        self.set_metadata(metadata);
        self
    }

    pub(crate) fn set_metadata(&mut self, metadata: BTreeMap<String, String>) {
        let entry = |(key, value)| StringStringEntryProto { key, value, ..Default::default() };
        self.header.metadata_props = metadata.into_iter().map(entry).collect();
    }

    /// The imported version of a domain.
    pub(crate) fn import(&self, domain: &str) -> Option<i64> {
        let import = self.header.opset_import.iter().find(|import| import.domain == domain);
        import.map(|import| import.version)
    }

    /// Visits every node, including those of subgraphs and functions.
    pub(crate) fn each_node<'a>(&'a self, visit: &mut dyn FnMut(&'a NodeProto)) {
        walk::nodes(&self.graph.node, visit);
        for function in &self.header.functions {
            walk::nodes(&function.node, visit);
        }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("name", &self.name())
            .field("inputs", &self.inputs())
            .field("outputs", &self.outputs())
            .field("nodes", &self.graph.node.len())
            .field("weights", &self.weights.len())
            .finish_non_exhaustive()
    }
}

/// An operator's name, with its domain in front unless that is `ai.onnx`.
pub(crate) fn operator(node: &NodeProto) -> String {
    if node.domain.is_empty() { node.op_type.clone() } else { format!("{}.{}", node.domain, node.op_type) }
}

fn ports(values: &[onnx_protobuf::ValueInfoProto]) -> Vec<Port> {
    // Ports are checked whenever a graph is made; the filter drops none.
    values.iter().filter_map(|value| Port::from_proto(value).ok()).collect()
}

fn one(kind: &'static str, name: &str, ports: Vec<Port>) -> Result<Port> {
    match ports.iter().find(|port| port.name == name) {
        Some(port) => Ok(port.clone()),
        None => Err(Error::unknown(kind, name, ports.iter().map(|port| port.name.as_str()))),
    }
}
