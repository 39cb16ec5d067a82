//! A graph as a value: read from bytes, asked about its ports and weights, written to bytes.
//!
//! The model's weights are kept beside the protobuf messages and shared (`Arc`), so that a copy of a graph,
//! and every graph composed from it, costs its nodes and not its weights. On reading, a model is brought to
//! one form: inputs that an initializer fills (the form before IR version 4) are weights and no ports, the
//! domain `ai.onnx` is written as the empty name, and a training section is dropped, because Chiasm takes
//! encoders as they are. Refused: models without a graph, ports that are no tensors, weights whose bytes and
//! shapes disagree.

use std::{collections::BTreeMap, fmt, sync::Arc};

use onnx_protobuf::{GraphProto, Message as _, ModelProto, NodeProto, StringStringEntryProto, TensorProto};

use crate::{
    Error, Port, Result, Tensor, guard, walk,
    weight::{self, WeightMap},
};

/// An ONNX model as a value.
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
    /// Reads a model from the bytes of an `.onnx` file; refuses weights in other files (use [`Graph::load`]).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes, &mut |tensor| {
            Err(Error::Unsupported(format!(
                "the weight `{}` lies in another file, which bytes alone cannot reach: load the model from \
                 its path",
                tensor.name
            )))
        })
    }

    /// Name of the graph.
    pub fn name(&self) -> &str {
        &self.graph.name
    }

    /// Input ports, in order.
    pub fn inputs(&self) -> Vec<Port> {
        ports(&self.graph.input)
    }

    /// Output ports, in order.
    pub fn outputs(&self) -> Vec<Port> {
        ports(&self.graph.output)
    }

    /// One input port; the error lists those there are.
    pub fn input(&self, name: &str) -> Result<Port> {
        one("input", name, self.inputs())
    }

    /// One output port; the error lists those there are.
    pub fn output(&self, name: &str) -> Result<Port> {
        one("output", name, self.outputs())
    }

    /// Version of the `ai.onnx` operators that the graph is written in.
    pub fn opset(&self) -> i64 {
        self.import("").unwrap_or_default()
    }

    /// Version of the ONNX format.
    pub fn ir_version(&self) -> i64 {
        self.header.ir_version
    }

    /// Number of nodes, those in subgraphs and functions included.
    pub fn node_count(&self) -> usize {
        self.op_types().values().sum()
    }

    /// How often each operator is used, subgraphs and functions included; foreign ones with their domain in
    /// front.
    pub fn op_types(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.each_node(&mut |node| *counts.entry(operator(node)).or_default() += 1);
        counts
    }

    /// Bytes of all weights.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.values().map(|tensor| weight::stored_len(tensor)).sum()
    }

    /// SHA-256 in hexadecimal of each weight's little-endian bytes, by name.
    pub fn weight_hashes(&self) -> BTreeMap<String, String> {
        self.weights.iter().map(|(name, tensor)| (name.clone(), weight::sha256(tensor))).collect()
    }

    /// Names of the weights, sorted.
    pub fn weight_names(&self) -> impl Iterator<Item = &str> {
        self.weights.keys().map(String::as_str)
    }

    /// A copy of one weight; an error for an unknown name or a type that tensors here do not have.
    pub fn weight(&self, name: &str) -> Result<Tensor> {
        match self.weights.get(name) {
            Some(tensor) => weight::from_proto(tensor),
            None => Err(Error::unknown("weight", name, self.weight_names())),
        }
    }

    /// The model's own notes (`metadata_props`).
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let entries = self.header.metadata_props.iter();
        entries.map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    }

    /// The graph with one note set.
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

    /// Version imported of a domain.
    pub(crate) fn import(&self, domain: &str) -> Option<i64> {
        let import = self.header.opset_import.iter().find(|import| import.domain == domain);
        import.map(|import| import.version)
    }

    /// Visits every node, of subgraphs and functions too.
    pub(crate) fn each_node<'a>(&'a self, visit: &mut dyn FnMut(&'a NodeProto)) {
        walk::nodes(&self.graph.node, visit);
        for function in &self.header.functions {
            walk::nodes(&function.node, visit);
        }
    }

    /// Reads a model whose outside weights `fetch` brings in.
    pub(crate) fn parse(bytes: &[u8], fetch: &mut dyn FnMut(&mut TensorProto) -> Result<()>) -> Result<Self> {
        guard::check(bytes)?;
        let mut header = ModelProto::parse_from_bytes(bytes)
            .map_err(|error| Error::Wire { offset: 0, reason: error.to_string() })?;
        let Some(mut graph) = header.graph.take() else {
            return Err(Error::Wire { offset: 0, reason: "there is no graph in it".to_owned() });
        };
        header.training_info.clear();
        canonical_domains(&mut header, &mut graph);
        let mut bring = |tensor: &mut TensorProto| {
            if weight::is_external(tensor) { fetch(tensor) } else { Ok(()) }
        };
        walk::tensors_mut(&mut graph, &mut bring)?;
        for function in &mut header.functions {
            function.node.iter_mut().try_for_each(|node| walk::node_tensors_mut(node, &mut bring))?;
        }
        let weights = take_weights(&mut graph)?;
        let filled = graph.input.len();
        graph.input.retain(|port| !weights.contains_key(&port.name));
        if graph.input.len() < filled {
            // From version 4 on a weight need not be listed as an input.
            header.ir_version = header.ir_version.max(4);
        }
        for port in graph.input.iter().chain(&graph.output) {
            Port::from_proto(port)?;
        }
        let read = Self { header, graph, weights };
        if read.import("").is_none() {
            return Err(Error::Unsound("the model does not say which version of ai.onnx it uses".to_owned()));
        }
        Ok(read)
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

/// An operator's name, with its domain in front when that is not `ai.onnx`.
pub(crate) fn operator(node: &NodeProto) -> String {
    if node.domain.is_empty() { node.op_type.clone() } else { format!("{}.{}", node.domain, node.op_type) }
}

fn ports(values: &[onnx_protobuf::ValueInfoProto]) -> Vec<Port> {
    // Every way to make a graph has checked its ports; the filter drops none.
    values.iter().filter_map(|value| Port::from_proto(value).ok()).collect()
}

fn one(kind: &'static str, name: &str, ports: Vec<Port>) -> Result<Port> {
    match ports.iter().find(|port| port.name == name) {
        Some(port) => Ok(port.clone()),
        None => Err(Error::unknown(kind, name, ports.iter().map(|port| port.name.as_str()))),
    }
}

/// `ai.onnx` and the empty name are one domain: writes it as the empty name everywhere.
fn canonical_domains(header: &mut ModelProto, graph: &mut GraphProto) {
    let plain = |domain: &mut String| {
        if domain == "ai.onnx" {
            domain.clear();
        }
    };
    let functions = header.functions.iter_mut();
    let imports = functions.flat_map(|function| &mut function.opset_import).chain(&mut header.opset_import);
    imports.for_each(|import| plain(&mut import.domain));
    walk::nodes_mut(&mut graph.node, &mut |node| plain(&mut node.domain));
    for function in &mut header.functions {
        walk::nodes_mut(&mut function.node, &mut |node| plain(&mut node.domain));
    }
}

fn take_weights(graph: &mut GraphProto) -> Result<WeightMap> {
    let mut weights = WeightMap::new();
    for mut tensor in std::mem::take(&mut graph.initializer) {
        weight::settle(&mut tensor)?;
        let name = std::mem::take(&mut tensor.name);
        if name.is_empty() {
            return Err(Error::Unsound("an initializer has no name".to_owned()));
        }
        if weights.insert(name.clone(), Arc::new(tensor)).is_some() {
            return Err(Error::Unsound(format!("two initializers are named `{name}`")));
        }
    }
    Ok(weights)
}
