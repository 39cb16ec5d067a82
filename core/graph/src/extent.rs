//! Checks that a model that is small as a file is not large when it is evaluated.
//!
//! Thirty functions, each of which calls the one before it twice, are a billion nodes, and one node
//! (`ConstantOfShape`, `Expand`) can make a tensor of any size from two numbers. The engine expands functions
//! and evaluates what follows from the weights alone when it opens a model. So both are counted before.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::NodeProto;

use crate::{
    Budget, Error, Graph, Result,
    budget::{MAX_CONSTANT_ELEMENTS, MAX_NODES},
    operators, shapes,
    walk::{self, node_name},
};

/// Functions that call each other deeper than this are an error.
const DEPTH: usize = 100;

/// A function's domain, name and overload.
type FunctionName<'a> = (&'a str, &'a str, &'a str);

/// Checks a model: the number of its nodes after its functions are expanded, and the number of elements that
/// are computed from its weights alone.
pub(crate) fn check(graph: &Graph) -> Result<()> {
    let functions = graph.header.functions.iter();
    let functions = functions.map(|f| ((f.domain.as_str(), f.name.as_str(), f.overload.as_str()), &*f.node));
    let mut expansion =
        Expansion { functions: functions.collect(), measured: HashMap::new(), largest: (0, String::new()) };
    let mut scope = Scope::default();
    let mut weights = 0_u64;
    for (name, proto) in &graph.weights {
        weights = weights.saturating_add(elements(&proto.dims));
        scope.facts.set_weight(name, proto);
        scope.constants.insert(name);
    }
    let extent = expansion.measure(&graph.graph.node, &mut scope, 0)?;
    Budget::new("nodes", MAX_NODES).spend(extent.nodes).map_err(|over| {
        Error::Unsupported(format!(
            "the model has too many nodes, counted with its functions expanded: {over}"
        ))
    })?;
    let limit = MAX_CONSTANT_ELEMENTS.max(weights.saturating_mul(8));
    Budget::new("elements", limit).spend(extent.elements).map_err(|over| {
        Error::Unsupported(format!(
            "the model computes too much from the weights alone: {over}; the largest tensor is that of {}",
            expansion.largest.1
        ))
    })
}

/// The size of a model or of a part of it.
#[derive(Clone, Copy, Default)]
struct Extent {
    nodes: u64,
    /// The elements of the tensors that follow from the weights alone.
    elements: u64,
}

impl Extent {
    fn add(&mut self, other: Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.elements = self.elements.saturating_add(other.elements);
    }
}

/// What is known at one place of a graph or function.
#[derive(Default)]
struct Scope<'a> {
    facts: shapes::Facts,
    /// The values that follow from the weights alone.
    constants: HashSet<&'a str>,
}

/// Measures functions, each function once.
struct Expansion<'a> {
    functions: HashMap<FunctionName<'a>, &'a [NodeProto]>,
    measured: HashMap<FunctionName<'a>, Extent>,
    /// The number of elements and the node of the largest constant.
    largest: (u64, String),
}

impl<'a> Expansion<'a> {
    fn measure(&mut self, nodes: &'a [NodeProto], scope: &mut Scope<'a>, depth: usize) -> Result<Extent> {
        let mut extent = Extent::default();
        for node in nodes {
            extent.add(Extent { nodes: 1, elements: 0 });
            let name = (node.domain.as_str(), node.op_type.as_str(), node.overload.as_str());
            match self.functions.get(&name).copied() {
                Some(body) => extent.add(self.function(name, body, depth)?),
                None => extent.add(Extent { nodes: 0, elements: self.constants(node, scope) }),
            }
            for inner in walk::subgraphs(node) {
                for tensor in &inner.initializer {
                    scope.facts.set_weight(&tensor.name, tensor);
                    scope.constants.insert(&tensor.name);
                }
                extent.add(self.measure(&inner.node, scope, depth)?);
            }
        }
        Ok(extent)
    }

    fn function(&mut self, name: FunctionName<'a>, body: &'a [NodeProto], depth: usize) -> Result<Extent> {
        if let Some(measured) = self.measured.get(&name) {
            return Ok(*measured);
        }
        if depth >= DEPTH {
            return Err(Error::Unsound(format!(
                "the function `{}` calls itself, or functions call each other deeper than {DEPTH}",
                name.1
            )));
        }
        let extent = self.measure(body, &mut Scope::default(), depth + 1)?;
        self.measured.insert(name, extent);
        Ok(extent)
    }

    /// Returns how many elements of a node's outputs follow from the weights alone, as far as that is known.
    fn constants(&mut self, node: &'a NodeProto, scope: &mut Scope<'a>) -> u64 {
        let known = |name: &String| name.is_empty() || scope.constants.contains(name.as_str());
        let random = operators::of(node).is_some_and(|operator| operator.random);
        if random || !node.input.iter().all(known) || walk::subgraphs(node).next().is_some() {
            return 0;
        }
        shapes::infer_node(&mut scope.facts, node);
        let mut sum = 0_u64;
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            scope.constants.insert(output);
            let dims = scope.facts.of(output).dims.unwrap_or_default();
            let lengths: Vec<i64> = dims.into_iter().filter_map(shapes::Length::fixed).collect();
            let count = elements(&lengths);
            sum = sum.saturating_add(count);
            if count > self.largest.0 {
                let name = node_name(node);
                self.largest = (count, format!("node `{name}` ({}), of shape {lengths:?}", node.op_type));
            }
        }
        sum
    }
}

/// The number of elements of a shape, at most that of 64 bits.
fn elements(dims: &[i64]) -> u64 {
    dims.iter().fold(1, |count: u64, length| count.saturating_mul(u64::try_from(*length).unwrap_or(0)))
}
