//! Visiting the parts of a graph, including subgraphs (those of `If`, `Loop`, `Scan` and other attributes).
//!
//! These functions are recursive; the depth is bounded, because deeper files are errors (`guard.rs`).

use std::collections::HashSet;

use onnx_protobuf::{AttributeProto, GraphProto, NodeProto, TensorProto, type_proto};

use crate::Result;

/// A node's name, or its first output if it has none.
pub(crate) fn node_name(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name }
}

/// The subgraphs of a node.
pub(crate) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_ref().into_iter().chain(&attribute.graphs))
}

/// The subgraphs of a node, mutably.
pub(crate) fn subgraphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute
        .iter_mut()
        .flat_map(|attribute| attribute.g.as_mut().into_iter().chain(&mut attribute.graphs))
}

/// Visits every node; those of subgraphs come after the node that contains them.
pub(crate) fn nodes<'a>(nodes_: &'a [NodeProto], visit: &mut dyn FnMut(&'a NodeProto)) {
    for node in nodes_ {
        visit(node);
        for inner in subgraphs(node) {
            nodes(&inner.node, visit);
        }
    }
}

/// Visits every node, mutably.
pub(crate) fn nodes_mut(nodes: &mut [NodeProto], visit: &mut dyn FnMut(&mut NodeProto)) {
    for node in nodes {
        visit(node);
        for inner in subgraphs_mut(node) {
            nodes_mut(&mut inner.node, visit);
        }
    }
}

/// Visits every tensor in a graph: initializers, sparse initializers and attributes, at every depth.
pub(crate) fn tensors_mut(
    graph: &mut GraphProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<()>,
) -> Result<()> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    for sparse in &mut graph.sparse_initializer {
        sparse.values.as_mut().into_iter().chain(sparse.indices.as_mut()).try_for_each(&mut *visit)?;
    }
    graph.node.iter_mut().try_for_each(|node| node_tensors_mut(node, visit))
}

/// Visits every tensor in a node's attributes, at every depth.
pub(crate) fn node_tensors_mut(
    node: &mut NodeProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<()>,
) -> Result<()> {
    for attribute in &mut node.attribute {
        attribute.t.as_mut().into_iter().chain(&mut attribute.tensors).try_for_each(&mut *visit)?;
        let sparse = attribute.sparse_tensor.as_mut().into_iter().chain(&mut attribute.sparse_tensors);
        for sparse in sparse {
            sparse.values.as_mut().into_iter().chain(sparse.indices.as_mut()).try_for_each(&mut *visit)?;
        }
        for inner in attribute.g.as_mut().into_iter().chain(&mut attribute.graphs) {
            tensors_mut(inner, visit)?;
        }
    }
    Ok(())
}

/// Renames values in a graph and its subgraphs: definitions, uses and annotations. Empty names, which stand
/// for inputs and outputs that are left out, are kept.
pub(crate) fn rename_values(graph: &mut GraphProto, rename: &dyn Fn(&str) -> Option<String>) {
    let apply = |name: &mut String| {
        if !name.is_empty()
            && let Some(new) = rename(name)
        {
            *name = new;
        }
    };
    graph.initializer.iter_mut().for_each(|tensor| apply(&mut tensor.name));
    // The name of a sparse initializer is that of its values.
    let sparse = graph.sparse_initializer.iter_mut();
    sparse.filter_map(|sparse| sparse.values.as_mut()).for_each(|values| apply(&mut values.name));
    let ports = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    ports.for_each(|port| apply(&mut port.name));
    for annotation in &mut graph.quantization_annotation {
        apply(&mut annotation.tensor_name);
        annotation.quant_parameter_tensor_names.iter_mut().for_each(|entry| apply(&mut entry.value));
    }
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(apply);
        subgraphs_mut(node).for_each(|inner| rename_values(inner, rename));
    }
}

/// Renames the free axes of every port and annotated value, at every depth.
pub(crate) fn rename_dims(graph: &mut GraphProto, rename: &dyn Fn(&str) -> Option<crate::Dim>) {
    let ports = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    for port in ports {
        let Some(type_proto::Value::TensorType(tensor)) =
            port.type_.as_mut().and_then(|kind| kind.value.as_mut())
        else {
            continue;
        };
        for dim in tensor.shape.as_mut().into_iter().flat_map(|shape| &mut shape.dim) {
            if let Some(new) = Some(dim.dim_param()).filter(|name| !name.is_empty()).and_then(rename) {
                *dim = crate::port::dim_to_proto(&new);
            }
        }
    }
    for node in &mut graph.node {
        subgraphs_mut(node).for_each(|inner| rename_dims(inner, rename));
    }
}

/// Visits the names of the free axes of every port and annotated value, at every depth.
pub(crate) fn dim_names<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a str)) {
    for port in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
        if let Some(type_proto::Value::TensorType(tensor)) = &port.type_.value {
            let names = tensor.shape.dim.iter().map(|dim| dim.dim_param());
            names.filter(|name| !name.is_empty()).for_each(&mut *visit);
        }
    }
    for node in &graph.node {
        subgraphs(node).for_each(|inner| dim_names(inner, visit));
    }
}

/// Visits the names of all values in a graph and its subgraphs, without the weights of the main graph, which
/// are kept outside it.
pub(crate) fn value_names<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a str)) {
    graph.initializer.iter().for_each(|tensor| visit(&tensor.name));
    let sparse = graph.sparse_initializer.iter();
    sparse.filter_map(|sparse| sparse.values.as_ref()).for_each(|values| visit(&values.name));
    graph.input.iter().chain(&graph.output).for_each(|port| visit(&port.name));
    for node in &graph.node {
        node.input.iter().chain(&node.output).filter(|name| !name.is_empty()).for_each(|name| visit(name));
        subgraphs(node).for_each(|inner| value_names(inner, visit));
    }
}

/// Visits the names of the values that a node uses: its inputs, and what its subgraphs use from outside
/// themselves.
pub(crate) fn uses<'a>(node: &'a NodeProto, visit: &mut dyn FnMut(&'a str)) {
    node.input.iter().filter(|name| !name.is_empty()).for_each(|name| visit(name));
    for inner in subgraphs(node) {
        captures(inner, visit);
    }
}

/// Visits the names of the values that a subgraph uses from outside itself.
fn captures<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a str)) {
    let mut own: HashSet<&str> = graph.input.iter().map(|port| port.name.as_str()).collect();
    own.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    own.extend(graph.sparse_initializer.iter().map(|sparse| sparse.values.name.as_str()));
    for node in &graph.node {
        uses(node, &mut |name| {
            if !own.contains(name) {
                visit(name);
            }
        });
        own.extend(node.output.iter().map(String::as_str));
    }
    graph.output.iter().map(|port| port.name.as_str()).filter(|name| !own.contains(name)).for_each(visit);
}

/// An attribute by name.
pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}
