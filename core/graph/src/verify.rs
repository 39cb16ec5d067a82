//! The rules that every graph keeps, and the stricter ones of graphs that were learned.
//!
//! Checked: every value is defined once and before it is used (subgraphs see what lies outside them), ports
//! have types and distinct names, every domain used is imported, local functions speak the model's own opset,
//! operators exist at that opset. Not checked: shapes, which the runtime infers when it opens the graph.

use std::collections::{BTreeMap, HashSet};

use onnx_protobuf::{FunctionProto, GraphProto, NodeProto};

use crate::{Error, Graph, OPSET, Port, Result, graph::operator, operators, walk, walk::node_name, weight};

/// What a sound graph consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphReport {
    /// Version of the `ai.onnx` operators.
    pub opset: i64,
    /// Version of the ONNX format.
    pub ir_version: i64,
    /// Input ports.
    pub inputs: Vec<Port>,
    /// Output ports.
    pub outputs: Vec<Port>,
    /// How often each operator is used.
    pub operators: BTreeMap<String, usize>,
    /// Bytes of all weights.
    pub weight_bytes: u64,
}

impl Graph {
    /// Checks the rules of ONNX that this crate relies on; the error names the first break.
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
        let mut trouble = Ok(());
        self.each_node(&mut |node| {
            if trouble.is_ok() {
                trouble = check_operator(node, &imports, self.opset());
            }
        });
        trouble?;
        Ok(GraphReport {
            opset: self.opset(),
            ir_version: self.ir_version(),
            inputs: self.inputs(),
            outputs: self.outputs(),
            operators: self.op_types(),
            weight_bytes: self.weight_bytes(),
        })
    }

    /// Checks a graph that was learned: sound, `ai.onnx` at [`OPSET`] alone, listed operators, no weight that
    /// is NaN.
    pub fn verify_learned(&self) -> Result<GraphReport> {
        let report = self.verify()?;
        if report.opset != OPSET {
            return Err(Error::Unsound(format!(
                "a learned graph is written in opset {OPSET}, this one in {}",
                report.opset
            )));
        }
        if let Some(function) = self.header.functions.first() {
            return Err(Error::Unsound(format!(
                "a learned graph has no local functions, this one has `{}`",
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
                return Err(Error::Unsound(format!("the weight `{name}` holds a NaN")));
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
                // ONNX Runtime runs a function's body with the model's opset, whatever the function says.
                if let Some(version) =
                    self.import(&import.domain).filter(|version| *version != import.version)
                {
                    return Err(Error::Unsound(format!(
                        "local function `{}` is written in opset {} of `{}`, the model in {version}",
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
            "node {} uses an operator that ai.onnx {version} does not have",
            label(node)
        )));
    }
    Ok(())
}

/// DefinedNames defined in a scope and in those around it.
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
            return Err(Error::Unsound(format!("`{name}` is defined twice, again by {what}")));
        }
        Ok(())
    }
}

fn check_graph<'a>(graph: &'a GraphProto, mut names: DefinedNames<'a>) -> Result<()> {
    for port in &graph.input {
        names.define(&port.name, "an input")?;
    }
    for tensor in &graph.initializer {
        // A subgraph's initializer may fill one of its inputs (the form before IR version 4).
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
        Some(port) => Err(Error::Unsound(format!("the output `{}` is made by nothing", port.name))),
        None => Ok(()),
    }
}

fn check_node<'a>(node: &'a NodeProto, names: &mut DefinedNames<'a>) -> Result<()> {
    if let Some(name) = node.input.iter().find(|name| !name.is_empty() && !names.knows(name)) {
        return Err(Error::Unsound(format!(
            "node {} takes `{name}`, which nothing before it defines",
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
        Some(name) => Err(Error::Unsound(format!("{what} makes no output `{name}`"))),
        None => Ok(()),
    }
}

/// A node in words: its operator, and its name or its first output.
pub(crate) fn label(node: &NodeProto) -> String {
    format!("{} `{}`", operator(node), node_name(node))
}

fn domain_text(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
}
