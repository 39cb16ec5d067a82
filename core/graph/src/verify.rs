//! Verification of graphs, and the stricter verification of learned graphs.
//!
//! Checked: every value is defined once and before it is used (subgraphs may use values outside them); ports
//! have types and distinct names; every domain that is used is imported; local functions have the opset of
//! the model; operators exist in that opset. Not checked: shapes, which the engine infers when it opens the
//! graph.

use std::collections::{BTreeMap, HashSet};

use onnx_protobuf::{FunctionProto, GraphProto, NodeProto};

use crate::{Error, Graph, OPSET, Port, Result, graph::operator, operators, walk, walk::node_name, weight};

/// The contents of a valid graph, as returned by [`Graph::verify`].
#[derive(Clone, Debug, PartialEq)]
pub struct GraphReport {
    /// The version of the `ai.onnx` operator set.
    pub opset: i64,
    /// The version of the ONNX format (the IR version).
    pub ir_version: i64,
    /// The input ports.
    pub inputs: Vec<Port>,
    /// The output ports.
    pub outputs: Vec<Port>,
    /// How often each operator is used.
    pub operators: BTreeMap<String, usize>,
    /// The size of all weights in bytes.
    pub weight_bytes: u64,
}

impl Graph {
    /// Checks the rules of ONNX that this crate relies on.
    ///
    /// # Errors
    /// [`Error::Unsound`] with the first violation.
    pub fn verify(&self) -> Result<GraphReport> {
        let imports: HashSet<&str> =
            self.header.opset_import.iter().map(|import| import.domain.as_str()).collect();
        let mut seen = HashSet::new();
        for port in self.graph.input.iter().chain(&self.graph.output) {
            Port::from_proto(port)?;
        }
        let outputs: Vec<&str> = self.graph.output.iter().map(|port| port.name.as_str()).collect();
        if let Some(twice) = outputs.iter().find(|name| !seen.insert(**name)) {
            return Err(Error::Unsound(format!("two outputs are named `{twice}`")));
        }
        let mut names = DefinedNames::default();
        for weight in self.weights.keys() {
            names.define(weight, "a weight")?;
        }
        check_graph(&self.graph, names)?;
        self.check_functions()?;
        let mut checked = Ok(());
        self.each_node(&mut |node| {
            if checked.is_ok() {
                checked = check_operator(node, &imports, self.opset());
            }
        });
        checked?;
        Ok(GraphReport {
            opset: self.opset(),
            ir_version: self.ir_version(),
            inputs: self.inputs(),
            outputs: self.outputs(),
            operators: self.op_types(),
            weight_bytes: self.weight_bytes(),
        })
    }

    /// Checks a learned graph: valid, with operators of `ai.onnx` at [`OPSET`] only, each of them allowed in
    /// learned graphs, and without NaN in its weights.
    ///
    /// # Errors
    /// [`Error::Unsound`] with the first violation.
    pub fn verify_learned(&self) -> Result<GraphReport> {
        let report = self.verify()?;
        if report.opset != OPSET {
            return Err(Error::Unsound(format!(
                "a learned graph must be written in opset {OPSET}, this one is in {}",
                report.opset
            )));
        }
        if let Some(function) = self.header.functions.first() {
            return Err(Error::Unsound(format!(
                "a learned graph must have no local functions, this one has `{}`",
                function.name
            )));
        }
        if let Some(name) =
            report.operators.keys().find(|name| !operators::find(name).is_some_and(|row| row.learned))
        {
            let allowed: Vec<&str> = operators::all().filter(|row| row.learned).map(|row| row.name).collect();
            return Err(Error::Unsound(format!(
                "operator `{name}` is not allowed in a learned graph; allowed are {}",
                allowed.join(", ")
            )));
        }
        for (name, tensor) in &self.weights {
            if weight::from_proto(tensor)?.data().has_nan() {
                return Err(Error::Unsound(format!("the weight `{name}` contains NaN")));
            }
        }
        Ok(report)
    }

    fn check_functions(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for function in &self.header.functions {
            let id = (&function.domain, &function.name, &function.overload);
            if !seen.insert(id) {
                return Err(Error::Unsound(format!("two local functions are named `{}`", function.name)));
            }
            for import in &function.opset_import {
                // ONNX Runtime runs the body of a function with the opset of the model, whatever the function
                // states.
                if let Some(version) =
                    self.import(&import.domain).filter(|version| *version != import.version)
                {
                    return Err(Error::Unsound(format!(
                        "local function `{}` is written in opset {} of `{}`, but the model in {version}",
                        function.name,
                        import.version,
                        domain_text(&import.domain),
                    )));
                }
            }
            check_function(function)?;
        }
        Ok(())
    }
}

fn check_operator(node: &NodeProto, imports: &HashSet<&str>, version: i64) -> Result<()> {
    if !imports.contains(node.domain.as_str()) {
        return Err(Error::Unsound(format!(
            "node {} uses the domain `{}`, which the model does not import",
            label(node),
            domain_text(&node.domain),
        )));
    }
    let exists = || operators::find(&node.op_type).is_some_and(|row| row.since(version).is_some());
    if node.domain.is_empty() && version <= operators::NEWEST && !exists() {
        return Err(Error::Unsound(format!(
            "node {} uses an operator that does not exist in ai.onnx {version}",
            label(node)
        )));
    }
    Ok(())
}

/// The names defined in a scope and in the scopes around it.
#[derive(Default)]
struct DefinedNames<'a> {
    own: HashSet<&'a str>,
    outer: Option<&'a DefinedNames<'a>>,
}

impl<'a> DefinedNames<'a> {
    fn knows(&self, name: &str) -> bool {
        self.own.contains(name) || self.outer.is_some_and(|outer| outer.knows(name))
    }

    fn define(&mut self, name: &'a str, what: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::Unsound(format!("{what} has no name")));
        }
        if !self.own.insert(name) {
            return Err(Error::Unsound(format!("`{name}` is defined twice, the second time by {what}")));
        }
        Ok(())
    }
}

fn check_graph<'a>(graph: &'a GraphProto, mut names: DefinedNames<'a>) -> Result<()> {
    for port in &graph.input {
        names.define(&port.name, "an input")?;
    }
    for tensor in &graph.initializer {
        // An initializer of a subgraph may have the name of an input (the form before IR version 4).
        if !graph.input.iter().any(|port| port.name == tensor.name) {
            names.define(&tensor.name, "an initializer")?;
        }
    }
    for sparse in &graph.sparse_initializer {
        names.define(&sparse.values.name, "a sparse initializer")?;
    }
    for node in &graph.node {
        check_node(node, &mut names)?;
    }
    match graph.output.iter().find(|port| !names.knows(&port.name)) {
        Some(port) => Err(Error::Unsound(format!("no node computes the output `{}`", port.name))),
        None => Ok(()),
    }
}

fn check_node<'a>(node: &'a NodeProto, names: &mut DefinedNames<'a>) -> Result<()> {
    if let Some(name) = node.input.iter().find(|name| !name.is_empty() && !names.knows(name)) {
        return Err(Error::Unsound(format!(
            "node {} uses `{name}`, which is not defined before it",
            label(node)
        )));
    }
    for inner in walk::subgraphs(node) {
        check_graph(inner, DefinedNames { own: HashSet::new(), outer: Some(names) })?;
    }
    for name in node.output.iter().filter(|name| !name.is_empty()) {
        names.define(name, &format!("node {}", label(node)))?;
    }
    Ok(())
}

fn check_function(function: &FunctionProto) -> Result<()> {
    let mut names = DefinedNames::default();
    let what = format!("local function `{}`", function.name);
    function.input.iter().try_for_each(|name| names.define(name, &what))?;
    function.node.iter().try_for_each(|node| check_node(node, &mut names))?;
    match function.output.iter().find(|name| !names.knows(name)) {
        Some(name) => Err(Error::Unsound(format!("{what} does not compute its output `{name}`"))),
        None => Ok(()),
    }
}

/// A node as text: its operator, and its name or first output.
pub(crate) fn label(node: &NodeProto) -> String {
    format!("{} `{}`", operator(node), node_name(node))
}

fn domain_text(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
}
