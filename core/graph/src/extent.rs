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
    check_nodes(graph)?;
    check_constants(graph)
}

fn check_nodes(graph: &Graph) -> Result<()> {
    let functions = graph.header.functions.iter();
    let functions = functions.map(|f| ((f.domain.as_str(), f.name.as_str(), f.overload.as_str()), &*f.node));
    let mut expansion = Expansion { functions: functions.collect(), counts: HashMap::new() };
    let nodes = expansion.count(&graph.graph.node, 0)?;
    let over = |over| {
        Error::Unsupported(format!(
            "the model has too many nodes, counted with its functions expanded: {over}"
        ))
    };
    Budget::new("nodes", MAX_NODES).spend(nodes).map_err(over)
}

/// Counts the nodes of functions, each function once.
struct Expansion<'a> {
    functions: HashMap<FunctionName<'a>, &'a [NodeProto]>,
    counts: HashMap<FunctionName<'a>, u64>,
}

impl<'a> Expansion<'a> {
    fn count(&mut self, nodes: &'a [NodeProto], depth: usize) -> Result<u64> {
        let mut called = Vec::new();
        let mut count = 0_u64;
        walk::nodes(nodes, &mut |node| {
            count = count.saturating_add(1);
            let name = (node.domain.as_str(), node.op_type.as_str(), node.overload.as_str());
            if self.functions.contains_key(&name) {
                called.push(name);
            }
        });
        for name in called {
            let inner = match (self.counts.get(&name).copied(), self.functions.get(&name).copied()) {
                (Some(count), _) => count,
                (None, Some(nodes)) if depth < DEPTH => {
                    let inner = self.count(nodes, depth + 1)?;
                    self.counts.insert(name, inner);
                    inner
                }
                _ => {
                    return Err(Error::Unsound(format!(
                        "the function `{}` calls itself, or functions call each other deeper than {DEPTH}",
                        name.1
                    )));
                }
            };
            count = count.saturating_add(inner);
        }
        Ok(count)
    }
}

fn check_constants(graph: &Graph) -> Result<()> {
    let weights = graph.weights.values().map(|weight| elements(&weight.dims));
    let weights = weights.fold(0_u64, u64::saturating_add);
    let limit = MAX_CONSTANT_ELEMENTS.max(weights.saturating_mul(8));
    let mut budget = Budget::new("elements", limit);
    let mut constants: HashSet<&str> = graph.weights.keys().map(String::as_str).collect();
    let mut facts = shapes::Facts::default();
    for (name, proto) in &graph.weights {
        facts.set_weight(name, proto);
    }
    for node in &graph.graph.node {
        let known = |name: &String| name.is_empty() || constants.contains(name.as_str());
        let random = operators::of(node).is_some_and(|operator| operator.random);
        if random || !node.input.iter().all(known) || walk::subgraphs(node).next().is_some() {
            continue;
        }
        shapes::infer_node(&mut facts, node);
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            constants.insert(output);
            let dims = facts.of(output).dims.unwrap_or_default();
            let lengths: Vec<i64> = dims.into_iter().filter_map(shapes::Length::fixed).collect();
            budget.spend(elements(&lengths)).map_err(|over| {
                Error::Unsupported(format!(
                    "node `{}` ({}) computes a tensor of shape {lengths:?} from the weights alone: {over}",
                    node_name(node),
                    node.op_type
                ))
            })?;
        }
    }
    Ok(())
}

/// The number of elements of a shape, at most that of 64 bits.
fn elements(dims: &[i64]) -> u64 {
    dims.iter().fold(1, |count: u64, length| count.saturating_mul(u64::try_from(*length).unwrap_or(0)))
}
