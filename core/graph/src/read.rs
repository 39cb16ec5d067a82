//! Reading a graph from bytes.
//!
//! Reading normalises a model: inputs with an initializer (the form before IR version 4) become weights, the
//! domain `ai.onnx` is written as the empty name, and training information is dropped. Errors: models without
//! a graph, ports that are not tensors, weights whose bytes do not match their shape, and models that are
//! small as a file and large when they are evaluated (`extent.rs`).

use std::sync::Arc;

use onnx_protobuf::{GraphProto, Message as _, ModelProto, TensorProto};

use crate::{
    Error, Graph, Port, Result, extent,
    external::Step,
    guard, walk,
    weight::{self, WeightMap},
};

impl Graph {
    /// Reads a model from the bytes of an `.onnx` file.
    ///
    /// # Errors
    /// [`Error::Wire`] for bytes that are no model, [`Error::Unsupported`] for weights in other files (use
    /// [`Graph::load`]) and ports that are not tensors, [`Error::Tensor`] and [`Error::Unsound`] for invalid
    /// weights.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes, &mut |tensor, _| {
            Err(Error::Unsupported(format!(
                "the weight `{}` is stored in another file, which cannot be found from bytes: load the model \
                 from its path",
                tensor.name
            )))
        })
    }

    /// Reads a model; `fetch` loads weights that are stored in other files.
    pub(crate) fn parse(
        bytes: &[u8],
        fetch: &mut dyn FnMut(&mut TensorProto, Step) -> Result<()>,
    ) -> Result<Self> {
        guard::check(bytes)?;
        let mut header = ModelProto::parse_from_bytes(bytes)
            .map_err(|error| Error::Wire { offset: 0, reason: error.to_string() })?;
        let Some(mut graph) = header.graph.take() else {
            return Err(Error::Wire { offset: 0, reason: "the model has no graph".to_owned() });
        };
        header.training_info.clear();
        canonical_domains(&mut header, &mut graph);
        for step in [Step::Check, Step::Read] {
            let mut load = |tensor: &mut TensorProto| {
                if weight::is_external(tensor) { fetch(tensor, step) } else { Ok(()) }
            };
            walk::tensors_mut(&mut graph, &mut load)?;
            for function in &mut header.functions {
                function.node.iter_mut().try_for_each(|node| walk::node_tensors_mut(node, &mut load))?;
            }
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
