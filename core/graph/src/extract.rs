//! Extracting parts of a graph: inner tensors as outputs, and the subgraph that some outputs need.

use std::collections::HashSet;

use onnx_protobuf::{NodeProto, ValueInfoProto};

use crate::{
    Dim, Error, Graph, Port, Result,
    shapes::{self, Length},
    types, walk,
};

impl Graph {
    /// Returns the graph with an inner tensor as an additional output. Its element type is inferred; its axes
    /// are those that the model states, or else those that follow from the operators that compute it.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a name that is no tensor of the main graph, [`Error::Unsupported`] if its
    /// element type cannot be inferred.
    pub fn expose(&self, tensor: &str) -> Result<Self> {
        let mut exposed = self.clone();
        exposed.expose_mut(tensor)?;
        Ok(exposed)
    }

    /// Returns the part of the graph that computes these tensors, which become its outputs, in this order.
    /// Inputs, weights, annotations and functions that are no longer used are dropped.
    ///
    /// # Errors
    /// As [`Graph::expose`], and [`Error::Unsound`] for a name given twice.
    pub fn extract(&self, outputs: &[&str]) -> Result<Self> {
        let mut cut = self.clone();
        for name in outputs {
            cut.expose_mut(name)?;
        }
        let other = |port: &&ValueInfoProto| !outputs.contains(&port.name.as_str());
        let hidden = cut.graph.output.iter().filter(other).map(|port| port.name.clone()).collect();
        cut.hide(&hidden);
        let mut ports = std::mem::take(&mut cut.graph.output);
        for (place, name) in outputs.iter().enumerate() {
            if outputs[..place].contains(name) {
                return Err(Error::Unsound(format!("the output `{name}` is requested twice")));
            }
            if let Some(at) = ports.iter().position(|port| port.name == *name) {
                cut.graph.output.push(ports.swap_remove(at));
            }
        }
        let mut needed: HashSet<String> = outputs.iter().map(|name| (*name).to_owned()).collect();
        let mut kept: Vec<NodeProto> = Vec::new();
        for node in std::mem::take(&mut cut.graph.node).into_iter().rev() {
            if node.output.iter().any(|name| needed.contains(name)) {
                walk::uses(&node, &mut |name| {
                    needed.insert(name.to_owned());
                });
                kept.push(node);
            }
        }
        kept.reverse();
        cut.graph.node = kept;
        cut.drop_unused(&needed);
        Ok(cut)
    }

    fn expose_mut(&mut self, tensor: &str) -> Result<()> {
        if self.graph.output.iter().any(|port| port.name == tensor) {
            return Ok(());
        }
        let inner = || self.graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
        let inputs = || self.graph.input.iter().map(|port| port.name.as_str());
        let defined = || inner().chain(inputs()).chain(self.weight_names());
        if tensor.is_empty() || !defined().any(|name| name == tensor) {
            return Err(Error::unknown("tensor", tensor, alike(tensor, inner().chain(inputs()))));
        }
        let Some((dtype, dims)) = types::of(self).remove(tensor) else {
            return Err(Error::Unsupported(format!(
                "the element type of `{tensor}` cannot be inferred from the operators that compute it; \
                 export the model with it as an output or with its type in `value_info`"
            )));
        };
        let dims = dims.or_else(|| inferred(self, tensor));
        let port = Port { name: tensor.to_owned(), dtype, dims };
        self.graph.output.push(port.to_proto());
        self.graph.value_info.retain(|value| value.name != tensor);
        Ok(())
    }

    fn drop_unused(&mut self, needed: &HashSet<String>) {
        let graph = &mut self.graph;
        graph.input.retain(|port| needed.contains(&port.name));
        graph.sparse_initializer.retain(|sparse| needed.contains(&sparse.values.name));
        graph.quantization_annotation.retain(|annotation| {
            let parts = annotation.quant_parameter_tensor_names.iter();
            needed.contains(&annotation.tensor_name) && parts.clone().all(|part| needed.contains(&part.value))
        });
        graph.value_info.retain(|value| needed.contains(&value.name));
        self.weights.retain(|name, _| needed.contains(name));
        self.drop_unused_functions();
        self.drop_unused_imports();
    }

    fn drop_unused_functions(&mut self) {
        loop {
            let mut called = HashSet::new();
            self.each_node(&mut |node| {
                called.insert((node.domain.clone(), node.op_type.clone(), node.overload.clone()));
            });
            let before = self.header.functions.len();
            self.header.functions.retain(|function| {
                called.contains(&(function.domain.clone(), function.name.clone(), function.overload.clone()))
            });
            if self.header.functions.len() == before {
                return;
            }
        }
    }

    /// Drops imports of domains that no node uses, so that their versions cannot conflict.
    pub(crate) fn drop_unused_imports(&mut self) {
        let mut used = HashSet::from([String::new()]);
        self.each_node(&mut |node| {
            used.insert(node.domain.clone());
        });
        used.extend(self.header.functions.iter().map(|function| function.domain.clone()));
        self.header.opset_import.retain(|import| used.contains(&import.domain));
    }
}

/// Returns the axes of a value as far as they can be inferred; `None` if not even their number can.
fn inferred(graph: &Graph, tensor: &str) -> Option<Vec<Dim>> {
    let dim = |length: Length| match length {
        Length::Fixed(length) => usize::try_from(length).map_or(Dim::Unknown, Dim::Fixed),
        Length::Symbol(_) => Dim::Unknown,
    };
    Some(shapes::infer(graph).of(tensor).dims?.into_iter().map(dim).collect())
}

/// The names that contain this name or are contained in it; all names if there are none.
fn alike<'a>(sought: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let all: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    let sought = sought.to_lowercase();
    let near = |name: &&str| {
        let name = name.to_lowercase();
        !sought.is_empty() && (name.contains(&sought) || sought.contains(&name))
    };
    let close: Vec<&str> = all.iter().copied().filter(near).collect();
    if close.is_empty() { all } else { close }
}
