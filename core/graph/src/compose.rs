//! Joining graphs: outputs of one feed inputs of the next; everything else is placed side by side.
//!
//! Ports keep their names; inner values whose name is in use are renamed. Weights keep their bytes, and one
//! that both graphs have is stored once. Free axes are kept apart: an axis `N` in each of two graphs stands
//! for two lengths, unless a link or a shared input makes them equal. (ONNX Runtime reuses buffers of axes of
//! equal name, and fails if their lengths differ.)

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use onnx_protobuf::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

use crate::{
    Error, Graph, Port, Result,
    dims::AxisGroups,
    rename::free_name,
    walk,
    weight::{self, Outline, WeightMap},
};

impl Graph {
    /// Feeds outputs of this graph into inputs of the next graph. Links are `(output, input)`; ports without
    /// a link remain ports.
    ///
    /// Unlinked inputs of the same name become one input and must have the same type. The graph with the
    /// lower opset is upgraded to the higher one ([`Graph::upgraded`]). Where both graphs have a metadata
    /// key, the value of this graph is kept.
    ///
    /// ```
    /// use chiasm_graph::{Builder, DType, Dim, Graph, Result, Tensor};
    ///
    /// fn linear(input: &str, output: &str, shape: [usize; 2]) -> Result<Graph> {
    ///     let mut b = Builder::new(output);
    ///     let x = b.input(input, DType::F32, &[Dim::named("batch"), shape[0].into()])?;
    ///     let w = b.constant("w", Tensor::zeros(DType::F32, &shape)?);
    ///     let y = b.matmul(&x, &w);
    ///     b.output(output, &y, DType::F32, &[Dim::named("batch"), shape[1].into()]);
    ///     b.finish()
    /// }
    /// let joined = linear("x", "hidden", [2, 3])?.join(&linear("y", "z", [3, 4])?, &[("hidden", "y")])?;
    /// assert_eq!(joined.inputs()[0].to_string(), "x f32[batch,2]");
    /// assert_eq!(joined.outputs()[0].to_string(), "z f32[batch,4]");
    /// # Ok::<(), chiasm_graph::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unknown`] for an unknown port, [`Error::Join`] for ports of different types and port names
    /// that would not be distinct, [`Error::Opset`] and [`Error::Unsupported`] for versions of operators that
    /// cannot be made equal.
    pub fn join(&self, next: &Self, links: &[(&str, &str)]) -> Result<Self> {
        let opset = self.opset().max(next.opset());
        let mut first = self.upgraded(opset)?;
        let mut next = next.upgraded(opset)?;
        let links = resolve(&first, &next, links)?;
        let free: HashSet<String> = next.inputs().into_iter().map(|port| port.name).collect();
        let free: HashSet<String> = free.into_iter().filter(|name| !links.contains_key(name)).collect();
        check_ports(&first, &next, &links, &free)?;
        unify_dims(&mut first, &mut next, &links, &free)?;
        join_imports(&mut first, &mut next)?;
        join_functions(&mut first, &mut next);
        let linked: HashSet<String> = links.values().cloned().collect();
        first.hide(&linked);
        let links = free_port_names(&mut first, &next, &free, links);
        let copies = rename_next(&first, &mut next, &free, links);
        Ok(append(first, next, copies))
    }

    /// Places another graph beside this one: [`Graph::join`] without links.
    ///
    /// # Errors
    /// As [`Graph::join`].
    pub fn merge(&self, other: &Self) -> Result<Self> {
        self.join(other, &[])
    }
}

impl Graph {
    /// Turns outputs into inner values; their types are kept as annotations.
    pub(crate) fn hide(&mut self, names: &HashSet<String>) {
        let inputs: HashSet<String> = self.graph.input.iter().map(|port| port.name.clone()).collect();
        let outputs = std::mem::take(&mut self.graph.output);
        let (hidden, kept): (Vec<_>, Vec<_>) =
            outputs.into_iter().partition(|port| names.contains(&port.name));
        self.graph.output = kept;
        let known =
            |port: &ValueInfoProto| inputs.contains(&port.name) || self.weights.contains_key(&port.name);
        self.graph.value_info.extend(hidden.into_iter().filter(|port| !known(port)));
    }
}

/// The linked output of each linked input, after a check that both ports exist and have the same type.
fn resolve(first: &Graph, next: &Graph, links: &[(&str, &str)]) -> Result<HashMap<String, String>> {
    let mut resolved = HashMap::new();
    for (output, input) in links {
        let (from, to) = (first.output(output)?, next.input(input)?);
        if from.dtype != to.dtype {
            return Err(clash(&from, &to, "their element types differ; add a cast between them".to_owned()));
        }
        if let Some(other) = resolved.insert(to.name.clone(), from.name.clone()) {
            return Err(clash(&from, &to, format!("the input is already linked to `{other}`")));
        }
    }
    Ok(resolved)
}

/// Checks that the port names of the joined graph are distinct and that shared inputs have the same type.
fn check_ports(
    first: &Graph,
    next: &Graph,
    links: &HashMap<String, String>,
    free: &HashSet<String>,
) -> Result<()> {
    let inputs: HashMap<String, Port> =
        first.inputs().into_iter().map(|port| (port.name.clone(), port)).collect();
    let mut outputs: HashMap<String, Port> =
        first.outputs().into_iter().map(|port| (port.name.clone(), port)).collect();
    outputs.retain(|name, _| !links.values().any(|linked| linked == name));
    let hint = "rename one of them or link them";
    for port in next.inputs().into_iter().filter(|port| free.contains(&port.name)) {
        match (inputs.get(&port.name), outputs.get(&port.name)) {
            (Some(other), _) if other.dtype != port.dtype => {
                return Err(clash(
                    other,
                    &port,
                    format!("inputs of the same name must have the same type; {hint}"),
                ));
            }
            (None, Some(other)) => {
                return Err(clash(
                    other,
                    &port,
                    format!("an output and an unlinked input have the same name; {hint}"),
                ));
            }
            _ => {}
        }
    }
    for port in next.outputs() {
        let passed = free.contains(&port.name) && inputs.contains_key(&port.name);
        if let Some(other) = outputs.get(&port.name).or(inputs.get(&port.name).filter(|_| !passed)) {
            return Err(clash(other, &port, format!("two ports would have the same name; {hint}")));
        }
    }
    Ok(())
}

/// Gives one name to the axes that a link or a shared input makes equal, and distinct names to all others.
fn unify_dims(
    first: &mut Graph,
    next: &mut Graph,
    links: &HashMap<String, String>,
    free: &HashSet<String>,
) -> Result<()> {
    let mut dims = AxisGroups::new(&first.graph, &next.graph);
    for port in next.inputs() {
        let other = match links.get(&port.name) {
            Some(output) => first.output(output)?,
            None if free.contains(&port.name) => match first.input(&port.name) {
                Ok(shared) => shared,
                Err(_) => continue,
            },
            None => continue,
        };
        if let (Some(a), Some(b)) = (&other.dims, &port.dims) {
            dims.equate(a, b).map_err(|reason| clash(&other, &port, reason))?;
        }
    }
    let (of_first, of_next) = dims.names();
    walk::rename_dims(&mut first.graph, &|name| of_first.get(name).cloned());
    walk::rename_dims(&mut next.graph, &|name| of_next.get(name).cloned());
    Ok(())
}

fn join_imports(first: &mut Graph, next: &mut Graph) -> Result<()> {
    first.drop_unused_imports();
    next.drop_unused_imports();
    for import in &next.header.opset_import {
        match first.import(&import.domain) {
            None => first.header.opset_import.push(import.clone()),
            Some(version) if version == import.version => {}
            Some(version) => {
                return Err(Error::Unsupported(format!(
                    "the graphs use versions {version} and {} of the operators of `{}`; only ai.onnx can be \
                     upgraded: export both models with the same version",
                    import.version, import.domain
                )));
            }
        }
    }
    Ok(())
}

/// Adds the next graph's local functions. A function that both graphs have is kept once; different functions
/// of the same name are renamed.
fn join_functions(first: &mut Graph, next: &mut Graph) {
    let functions = first.header.functions.iter().chain(&next.header.functions);
    let all: HashSet<String> = functions.map(|function| function.name.clone()).collect();
    let taken = |name: &str| first.header.functions.iter().any(|function| function.name == name);
    let new = |name: &str| {
        let differs = next.header.functions.iter().any(|function| {
            function.name == name && taken(name) && !first.header.functions.contains(function)
        });
        differs.then(|| free_name(&format!("{}/{name}", scope(next)), &all))
    };
    let map: HashMap<String, String> = next
        .header
        .functions
        .iter()
        .filter_map(|function| Some((function.name.clone(), new(&function.name)?)))
        .collect();
    next.rename_functions(&|name| map.get(name).cloned());
    for function in std::mem::take(&mut next.header.functions) {
        if !first.header.functions.contains(&function) {
            first.header.functions.push(function);
        }
    }
}

/// Renames inner values of the first graph that have the name of a port of the next; returns the links with
/// the new names.
fn free_port_names(
    first: &mut Graph,
    next: &Graph,
    free: &HashSet<String>,
    links: HashMap<String, String>,
) -> HashMap<String, String> {
    let ports: HashSet<&str> = first.port_names().collect();
    let mut taken = first.value_names();
    let clashing =
        free.iter().map(String::as_str).chain(next.graph.output.iter().map(|port| port.name.as_str()));
    let clashing: HashSet<&str> =
        clashing.filter(|name| taken.contains(*name) && !ports.contains(name)).collect();
    // Sorted, so that joining is deterministic.
    let mut clashing: Vec<&str> = clashing.into_iter().collect();
    clashing.sort_unstable();
    taken.extend(next.value_names());
    let mut map = HashMap::new();
    for name in clashing {
        let new = free_name(&format!("{}/{name}", scope(first)), &taken);
        taken.insert(new.clone());
        map.insert(name.to_owned(), new);
    }
    first.rename_values(&|name| map.get(name).cloned());
    links.into_iter().map(|(input, output)| (input, map.get(&output).cloned().unwrap_or(output))).collect()
}

/// Gives the next graph's values their names in the joined graph and drops its weights that the first graph
/// has too. Returns `(value, output)` for each linked input that is also an output: it is copied under the
/// output's name.
fn rename_next(
    first: &Graph,
    next: &mut Graph,
    free: &HashSet<String>,
    links: HashMap<String, String>,
) -> Vec<(String, String)> {
    let outputs: HashSet<String> = next.graph.output.iter().map(|port| port.name.clone()).collect();
    let copies: Vec<(String, String)> = next
        .graph
        .output
        .iter()
        .filter_map(|port| Some((links.get(&port.name)?.clone(), port.name.clone())))
        .collect();
    let mut map = links;
    for (name, same) in same_weights(&first.weights, &next.weights) {
        if !outputs.contains(&name) {
            next.weights.remove(&name);
            map.insert(name, same);
        }
    }
    let mut taken = first.value_names();
    let own = next.value_names();
    let mut clashing: Vec<&String> = own
        .iter()
        .filter(|name| {
            taken.contains(*name)
                && !map.contains_key(*name)
                && !free.contains(*name)
                && !outputs.contains(*name)
        })
        .collect();
    clashing.sort_unstable();
    taken.extend(own.iter().cloned());
    for name in clashing {
        let new = free_name(&format!("{}/{name}", scope(next)), &taken);
        taken.insert(new.clone());
        map.insert(name.clone(), new);
    }
    let ports = next.graph.output.clone();
    next.graph.input.retain(|port| free.contains(&port.name));
    next.rename_values(&|name| map.get(name).cloned());
    next.graph.output = ports;
    copies
}

/// The next graph's weights that the first graph has too, as `(name in next, name in first)`.
fn same_weights(first: &WeightMap, next: &WeightMap) -> Vec<(String, String)> {
    let mut like: HashMap<Outline<'_>, Vec<&String>> = HashMap::new();
    // Most different weights differ in their first bytes, so that few are compared in full.
    for (name, tensor) in first {
        like.entry(weight::outline(tensor)).or_default().push(name);
    }
    let twin = |tensor: &Arc<TensorProto>| {
        let candidates = like.get(&weight::outline(tensor))?;
        candidates.iter().copied().find(|name| weight::same(&first[*name], tensor))
    };
    next.iter().filter_map(|(name, tensor)| Some((name.clone(), twin(tensor)?.clone()))).collect()
}

fn append(mut first: Graph, next: Graph, copies: Vec<(String, String)>) -> Graph {
    first.header.ir_version = first.header.ir_version.max(next.header.ir_version);
    let mut metadata = next.metadata();
    metadata.extend(first.metadata());
    first.set_metadata(metadata);
    let (name, more) = (scope(&first).to_owned(), scope(&next).to_owned());
    let graph = &mut first.graph;
    let GraphProto {
        mut node, input, output, value_info, sparse_initializer, quantization_annotation, ..
    } = next.graph;
    distinct_nodes(&graph.node, &mut node, &more);
    graph.node.append(&mut node);
    graph.node.extend(copies.into_iter().map(|(value, output)| NodeProto {
        op_type: "Identity".to_owned(),
        input: vec![value],
        output: vec![output],
        ..Default::default()
    }));
    let shared: HashSet<String> = graph.input.iter().map(|port| port.name.clone()).collect();
    graph.input.extend(input.into_iter().filter(|port| !shared.contains(&port.name)));
    graph.output.extend(output);
    let annotated: HashSet<String> = graph.value_info.iter().map(|value| value.name.clone()).collect();
    graph.value_info.extend(value_info.into_iter().filter(|value| !annotated.contains(&value.name)));
    graph.sparse_initializer.extend(sparse_initializer);
    graph.quantization_annotation.extend(quantization_annotation);
    graph.name = format!("{name}+{more}");
    first.weights.extend(next.weights);
    first
}

/// Renames nodes of the next graph that have the name of a node of the first.
fn distinct_nodes(first: &[NodeProto], next: &mut [NodeProto], scope: &str) {
    let mut taken = HashSet::new();
    walk::nodes(first, &mut |node| {
        taken.insert(node.name.clone());
    });
    let mut all = taken.clone();
    walk::nodes(next, &mut |node| {
        all.insert(node.name.clone());
    });
    walk::nodes_mut(next, &mut |node| {
        if !node.name.is_empty() && taken.contains(&node.name) {
            node.name = free_name(&format!("{scope}/{}", node.name), &all);
            all.insert(node.name.clone());
        }
    });
}

/// The prefix that makes a graph's names distinct from another graph's.
fn scope(graph: &Graph) -> &str {
    if graph.name().is_empty() { "graph" } else { graph.name() }
}

fn clash(from: &Port, to: &Port, reason: String) -> Error {
    Error::Join { from: from.to_string(), to: to.to_string(), reason }
}
