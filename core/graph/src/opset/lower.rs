//! Writing a graph in an older operator set.
//!
//! Every change of an operator between the two operator sets is undone, newest first: an input that was an
//! attribute becomes one again, `Softmax` gets the axis that it had, and an attribute that is newer than the
//! operator set is dropped if it has its default. An operator that the older set does not have is written
//! with others where that is short. Everything else is an error.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::NodeProto;

use super::{decompose, newer, rewrite};
use crate::{
    Attr, Error, Graph, OLDEST_OPSET, Result,
    operators::{self, Change},
    shapes::{self, Facts, MAX_ELEMENTS, resolve_axis},
    walk::{self, node_name},
    weight,
};

/// The integers of the constants in scope, by name.
type Constants = HashMap<String, Vec<i64>>;

/// A move to an older operator set.
pub(super) struct Lowering {
    from: i64,
    to: i64,
    /// What is known of the values of the main graph; nothing in subgraphs and functions.
    facts: Facts,
    /// Names that new values must not have.
    taken: HashSet<String>,
}

/// Returns the function of a graph written in an older operator set.
///
/// # Errors
/// As [`Graph::in_opset`].
pub(super) fn lowered(graph: &Graph, opset: i64) -> Result<Graph> {
    if opset < OLDEST_OPSET {
        return Err(Error::Unsupported(format!(
            "a graph cannot be written in opset {opset}; the oldest possible is {OLDEST_OPSET}"
        )));
    }
    let mut made = graph.clone();
    let facts = shapes::infer(graph);
    let known = graph
        .weights
        .iter()
        .filter_map(|(name, weight)| Some((name.clone(), weight::small_ints(weight, MAX_ELEMENTS)?)));
    let mut lowering = Lowering { from: graph.opset(), to: opset, facts, taken: graph.value_names() };
    lowering.nodes(&mut made.graph.node, known.collect())?;
    for function in &mut made.header.functions {
        let Some(import) = function.opset_import.iter_mut().find(|import| import.domain.is_empty()) else {
            continue;
        };
        // The names of values in a function are local to it.
        let inner = function.node.iter().flat_map(|node| &node.output).chain(&function.input);
        let taken = inner.cloned().collect();
        let mut lowering = Lowering { from: import.version, to: opset, facts: Facts::default(), taken };
        lowering.nodes(&mut function.node, Constants::new())?;
        import.version = opset;
    }
    let import = made.header.opset_import.iter_mut().find(|import| import.domain.is_empty());
    import.into_iter().for_each(|import| import.version = opset);
    // Axes that became attributes are no longer read from a weight.
    let outputs: Vec<String> = made.outputs().into_iter().map(|port| port.name).collect();
    made.extract(&outputs.iter().map(String::as_str).collect::<Vec<_>>())
}

impl Lowering {
    fn nodes(&mut self, nodes: &mut Vec<NodeProto>, mut known: Constants) -> Result<()> {
        let mut moved = Vec::with_capacity(nodes.len());
        for mut node in std::mem::take(nodes) {
            if let (Some(values), Some(name)) = (constant(&node), node.output.first()) {
                known.insert(name.clone(), values);
            }
            if walk::subgraphs(&node).next().is_some() {
                // Values of a subgraph are not inferred; they may have the name of an outer value.
                let facts = std::mem::take(&mut self.facts);
                let mut inner = walk::subgraphs_mut(&mut node);
                let done = inner.try_for_each(|inner| self.nodes(&mut inner.node, known.clone()));
                self.facts = facts;
                done?;
            }
            if node.domain.is_empty() {
                moved.extend(self.node(node, &known)?);
            } else {
                moved.push(node);
            }
        }
        *nodes = moved;
        Ok(())
    }

    /// Returns the nodes that compute in the older operator set what a node computes.
    fn node(&mut self, node: NodeProto, known: &Constants) -> Result<Vec<NodeProto>> {
        let operator = operators::find(&node.op_type);
        if operator.is_none_or(|operator| operator.since(self.to).is_none()) {
            let made = decompose::decomposed(&node, &self.facts, &mut self.taken);
            let reason = |more: String| format!("opset {} has no such operator{more}", self.to);
            return made.map_err(|more| self.refused(&node, reason(more)));
        }
        let versions = operator.iter().flat_map(|operator| operator.versions.iter().rev());
        let mut made = node;
        let mut around = None;
        for version in versions.filter(|version| (self.to + 1..=self.from).contains(version)) {
            let change = operator.and_then(|operator| operator.change(*version));
            let undone = match change {
                Some(Change::MoreTypes) => Ok(()),
                Some(Change::Compatible(_)) => newer::dropped(&mut made, *version, &self.facts),
                Some(Change::CompatibleIf(test, _)) if test(&made) => {
                    newer::dropped(&mut made, *version, &self.facts)
                }
                Some(Change::CompatibleIf(..)) if made.op_type == "Split" => self.equal_parts(&mut made),
                Some(Change::AttributeToInput { attribute, input }) => {
                    input_to_attribute(&mut made, attribute, input, known)
                }
                Some(Change::FlattenedAxis) => self.last_axis(&mut made).map(|order| around = order),
                Some(Change::CompatibleIf(_, reason) | Change::Incompatible(reason)) => {
                    Err(format!("opset {version} changed it: {reason}"))
                }
                Some(Change::NegativeAxes) | None => {
                    Err(format!("it is not known whether opset {version} changed its meaning"))
                }
            };
            undone.map_err(|reason| self.refused(&made, reason))?;
        }
        Ok(match around {
            None => vec![made],
            Some(order) => rewrite::transposed(made, &order, &mut self.taken),
        })
    }

    fn refused(&self, node: &NodeProto, reason: String) -> Error {
        Error::OlderOpset {
            operator: node.op_type.clone(),
            node: node_name(node).to_owned(),
            from: self.from,
            to: self.to,
            reason,
        }
    }

    /// Until opset 17, `Split` without lengths made as many equal parts as it has outputs.
    fn equal_parts(&self, node: &mut NodeProto) -> std::result::Result<(), String> {
        let dims = self.facts.input_dims(node, 0);
        let axis = walk::attribute(node, "axis").map_or(0, |attribute| attribute.i);
        let length = dims.as_ref().and_then(|dims| dims.get(resolve_axis(axis, dims.len())?)?.fixed());
        let parts = i64::try_from(node.output.len()).unwrap_or(i64::MAX);
        if length.is_none_or(|length| length % parts != 0) {
            return Err(
                "it makes parts of different lengths, or the length of its axis is not known".to_owned()
            );
        }
        node.attribute.retain(|attribute| attribute.name != "num_outputs");
        Ok(())
    }

    /// Until opset 12, `Softmax` flattened its input, so that only the last axis means the same. Returns the
    /// order of the axes that puts another axis last.
    fn last_axis(&self, node: &mut NodeProto) -> std::result::Result<Option<Vec<i64>>, String> {
        let axis = walk::attribute(node, "axis").map_or(-1, |attribute| attribute.i);
        let rank = self.facts.input_dims(node, 0).map(|dims| dims.len());
        let at = rank.and_then(|rank| Some((resolve_axis(axis, rank)?, rank)));
        let order = match at {
            Some((at, rank)) if at + 1 == rank => None,
            None if axis == -1 => None,
            None => return Err("its axis is not the last, and the number of axes is not known".to_owned()),
            Some((at, rank)) => {
                let mut order: Vec<i64> = (0..i64::try_from(rank).unwrap_or(i64::MAX)).collect();
                order.swap(at, rank - 1);
                Some(order)
            }
        };
        node.attribute.retain(|attribute| attribute.name != "axis");
        node.attribute.push(Attr::Int(-1).to_proto("axis"));
        Ok(order)
    }
}

/// Replaces the input by an attribute with the same integers.
fn input_to_attribute(
    node: &mut NodeProto,
    attribute: &str,
    input: usize,
    known: &Constants,
) -> std::result::Result<(), String> {
    let keeps_empty = walk::attribute(node, "noop_with_empty_axes").is_some_and(|noop| noop.i != 0);
    let name = node.input.get(input).filter(|name| !name.is_empty());
    let values = match name {
        None => Vec::new(),
        Some(name) => known.get(name).cloned().ok_or(format!("its input `{attribute}` is not a constant"))?,
    };
    if values.is_empty() && keeps_empty {
        return Err(format!("it has no `{attribute}` and leaves its input as it is"));
    }
    node.attribute.retain(|other| other.name != "noop_with_empty_axes");
    node.input.truncate(input);
    if !values.is_empty() {
        node.attribute.push(Attr::Ints(values).to_proto(attribute));
    }
    Ok(())
}

/// The integers of a `Constant` node.
fn constant(node: &NodeProto) -> Option<Vec<i64>> {
    if node.op_type != "Constant" || !node.domain.is_empty() {
        return None;
    }
    let tensor = walk::attribute(node, "value").and_then(|value| value.t.as_ref());
    let tensor = tensor.and_then(|tensor| weight::small_ints(tensor, MAX_ELEMENTS));
    tensor.or_else(|| walk::attribute(node, "value_ints").map(|value| value.ints.clone()))
}
