//! Joining graphs: outputs of one feed inputs of the next, everything else stands side by side.
//!
//! Ports keep their names; inner names give way where two graphs use the same one. Weights keep their bytes,
//! and one that both graphs hold is stored once. Free axes are told apart: two graphs that both say `N` mean
//! two lengths, unless a link or a shared input states that they are one. (A runtime that is told of one
//! length where there are two fails on reuse of memory, so this is no formality.)

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
    /// Feeds outputs of this graph into inputs of the next, as `(output, input)`; ports without a link stay
    /// ports.
    ///
    /// Free inputs of one name are one input and must have one type. The graph of the lower opset is moved to
    /// the higher one, where that is safe ([`Graph::upgraded`]). Notes of this graph win over those of the
    /// next under the same key. An error for an unknown port, types that do not fit, two outputs of one name,
    /// and clashing versions of operators.
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
        let links = make_way(&mut first, &next, &free, links);
        let copies = rename_next(&first, &mut next, &free, links);
        Ok(append(first, next, copies))
    }

    /// Puts another graph beside this one: [`Graph::join`] without links.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        self.join(other, &[])
    }
}

impl Graph {
    /// Makes outputs inner values, whose types stay known.
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

/// The links by input, after looking up both ports and comparing their types.
fn resolve(first: &Graph, next: &Graph, links: &[(&str, &str)]) -> Result<HashMap<String, String>> {
    let mut resolved = HashMap::new();
    for (output, input) in links {
        let (from, to) = (first.output(output)?, next.input(input)?);
        if from.dtype != to.dtype {
            return Err(clash(&from, &to, "their element types differ; add a cast between them".to_owned()));
        }
        if let Some(other) = resolved.insert(to.name.clone(), from.name.clone()) {
            return Err(clash(&from, &to, format!("the input already takes `{other}`")));
        }
    }
    Ok(resolved)
}

/// Port names of the joined graph must be distinct, and a shared input must be of one type.
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
                return Err(clash(other, &port, format!("inputs of one name must have one type; {hint}")));
            }
            (None, Some(other)) => {
                return Err(clash(other, &port, format!("an output and a free input share a name; {hint}")));
            }
            _ => {}
        }
    }
    for port in next.outputs() {
        let passed = free.contains(&port.name) && inputs.contains_key(&port.name);
        if let Some(other) = outputs.get(&port.name).or(inputs.get(&port.name).filter(|_| !passed)) {
            return Err(clash(other, &port, format!("two ports would have one name; {hint}")));
        }
    }
    Ok(())
}

/// Makes the axes that a link or a shared input equates one, and keeps all others apart.
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
    let (of_first, of_next) = dims.settle();
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
                    "the graphs use the operators of `{}` in versions {version} and {}; \
                     only versions of ai.onnx can be moved: export both models with one version",
                    import.domain, import.version
                )));
            }
        }
    }
    Ok(())
}

/// Brings the next graph's local functions along; one that both have is kept once, others of the same name
/// are renamed.
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

/// Renames inner values of the first graph that hold the name of a port of the next; gives the links with the
/// new names.
fn make_way(
    first: &mut Graph,
    next: &Graph,
    free: &HashSet<String>,
    links: HashMap<String, String>,
) -> HashMap<String, String> {
    let ports: HashSet<&str> = first.port_names().collect();
    let mut taken = first.value_names();
    let claimed =
        free.iter().map(String::as_str).chain(next.graph.output.iter().map(|port| port.name.as_str()));
    let claimed: HashSet<&str> =
        claimed.filter(|name| taken.contains(*name) && !ports.contains(name)).collect();
    // Sorted, so that the same graphs are always joined to the same bytes.
    let mut claimed: Vec<&str> = claimed.into_iter().collect();
    claimed.sort_unstable();
    taken.extend(next.value_names());
    let mut map = HashMap::new();
    for name in claimed {
        let new = free_name(&format!("{}/{name}", scope(first)), &taken);
        taken.insert(new.clone());
        map.insert(name.to_owned(), new);
    }
    first.rename_values(&|name| map.get(name).cloned());
    links.into_iter().map(|(input, output)| (input, map.get(&output).cloned().unwrap_or(output))).collect()
}

/// Gives the next graph's values the names they have in the joined graph and drops its weights that the first
/// holds too. Returns the linked inputs that are outputs as well, as `(value, output)`: they need a copy
/// under the output's name.
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

/// The next graph's weights that the first holds byte for byte, as `(name in next, name in first)`.
fn same_weights(first: &WeightMap, next: &WeightMap) -> Vec<(String, String)> {
    let mut like: HashMap<Outline<'_>, Vec<&String>> = HashMap::new();
    // The first bytes tell most weights apart, so that few are compared whole and none is hashed.
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
    let told: HashSet<String> = graph.value_info.iter().map(|value| value.name.clone()).collect();
    graph.value_info.extend(value_info.into_iter().filter(|value| !told.contains(&value.name)));
    graph.sparse_initializer.extend(sparse_initializer);
    graph.quantization_annotation.extend(quantization_annotation);
    graph.name = format!("{name}+{more}");
    first.weights.extend(next.weights);
    first
}

/// Gives nodes of the next graph other names where the first has a node of that name.
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

/// What stands in front of a graph's names when they must be told from another's.
fn scope(graph: &Graph) -> &str {
    if graph.name().is_empty() { "graph" } else { graph.name() }
}

fn clash(from: &Port, to: &Port, reason: String) -> Error {
    Error::Join { from: from.to_string(), to: to.to_string(), reason }
}
