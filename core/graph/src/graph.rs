//! The graph type: reading from bytes, ports, weights, metadata.
//!
//! Weights are kept outside the protobuf messages and shared (`Arc`), so that copies of a graph and graphs
//! composed from it share their weights. Reading normalises a model: inputs with an initializer (the form
//! before IR version 4) become weights, the domain `ai.onnx` is written as the empty name, and training
//! information is dropped. Errors: models without a graph, ports that are not tensors, weights whose bytes do
//! not match their shape, and models that are small as a file and large when they are evaluated (`extent.rs`).

use std::{collections::BTreeMap, fmt, sync::Arc};

use onnx_protobuf::{GraphProto, Message as _, ModelProto, NodeProto, StringStringEntryProto, TensorProto};

use crate::{
    Error, Port, Result, Tensor, extent, guard, walk,
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
    /// Reads a model from the bytes of an `.onnx` file.
    ///
    /// # Errors
    /// [`Error::Wire`] for bytes that are no model, [`Error::Unsupported`] for weights in other files (use
    /// [`Graph::load`]) and ports that are not tensors, [`Error::Tensor`] and [`Error::Unsound`] for invalid
    /// weights.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes, &mut |tensor| {
            Err(Error::Unsupported(format!(
                "the weight `{}` is stored in another file, which cannot be found from bytes: load the model \
                 from its path",
                tensor.name
            )))
        })
    }

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

    /// Reads a model; `fetch` loads weights that are stored in other files.
    pub(crate) fn parse(bytes: &[u8], fetch: &mut dyn FnMut(&mut TensorProto) -> Result<()>) -> Result<Self> {
        guard::check(bytes)?;
        let mut header = ModelProto::parse_from_bytes(bytes)
            .map_err(|error| Error::Wire { offset: 0, reason: error.to_string() })?;
        let Some(mut graph) = header.graph.take() else {
            return Err(Error::Wire { offset: 0, reason: "the model has no graph".to_owned() });
        };
        header.training_info.clear();
        canonical_domains(&mut header, &mut graph);
        let mut load = |tensor: &mut TensorProto| {
            if weight::is_external(tensor) { fetch(tensor) } else { Ok(()) }
        };
        walk::tensors_mut(&mut graph, &mut load)?;
        for function in &mut header.functions {
            function.node.iter_mut().try_for_each(|node| walk::node_tensors_mut(node, &mut load))?;
        }
        let weights = take_weights(&mut graph)?;
        let filled = graph.input.len();
        graph.input.retain(|port| !weights.contains_key(&port.name));
        if graph.input.len() < filled {
            // Up to version 3, every weight had to be listed as an input.
            header.ir_version = header.ir_version.max(4);
        }
        for port in graph.input.iter().chain(&graph.output) {
            Port::from_proto(port)?;
        }
        let read = Self { header, graph, weights };
        extent::check(&read)?;
        if read.import("").is_none() {
            return Err(Error::Unsound(
                "the model does not state which version of ai.onnx it uses".to_owned(),
            ));
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

/// Writes the domain `ai.onnx` as the empty name, which means the same.
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
        weight::normalize(&mut tensor)?;
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
