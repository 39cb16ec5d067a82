//! Moving a graph to another version of the `ai.onnx` operator set.
//!
//! ONNX Runtime gives a node the meaning that its operator has in the model's opset, so that changing the
//! number alone could change results without an error. A graph is upgraded only if every operator in it, in
//! its subgraphs and in its local functions, is unchanged or changed compatibly at every opset in between
//! (see [`crate::operators`]), or can be rewritten because an attribute became an input or because it
//! flattened its input. Every other change is an error. `lower` undoes the same changes for an older one.

mod decompose;
mod lower;
mod newer;
mod rewrite;

use std::collections::HashSet;

use onnx_protobuf::NodeProto;

use crate::{
    Error, Graph, Result,
    operators::{self, Change, NEWEST},
    shapes,
    walk::{self, node_name},
};

/// The number of axes of a value, if it is known.
type Ranks<'a> = &'a dyn Fn(&str) -> Option<usize>;

impl Graph {
    /// Returns the same function written in another operator set, from [`OLDEST_OPSET`](crate::OLDEST_OPSET)
    /// to [`NEWEST_OPSET`](crate::NEWEST_OPSET).
    ///
    /// To an older one, axes that are constants become attributes again, `Softmax` gets the axis that it had,
    /// defaults that are newer are dropped, and `LayerNormalization`, `Gelu`, `HardSwish` and `Mish` of
    /// 32-bit floats are written with older operators.
    ///
    /// # Errors
    /// [`Error::Opset`] or [`Error::OlderOpset`] for a node that cannot be written in it, with its operator,
    /// its name and both versions; [`Error::Unsupported`] for any other operator set.
    pub fn in_opset(&self, opset: i64) -> Result<Self> {
        if opset < self.opset() { lower::lowered(self, opset) } else { self.upgraded(opset) }
    }

    /// Returns the same function written in a newer operator set.
    ///
    /// # Errors
    /// [`Error::Opset`] for a node that cannot be upgraded, with its operator, its name and both versions;
    /// [`Error::Unsupported`] for an opset below the graph's or above the newest that is known.
    pub fn upgraded(&self, opset: i64) -> Result<Self> {
        let from = self.opset();
        if opset < from || opset > NEWEST.max(from) {
            return Err(Error::Unsupported(format!(
                "a graph in opset {from} cannot be upgraded to opset {opset}; possible are {from} to {}",
                NEWEST.max(from)
            )));
        }
        let mut upgraded = self.clone();
        let mut taken = if from == opset { HashSet::new() } else { self.value_names() };
        let facts = (from < opset).then(|| shapes::infer(self));
        let ranks = |name: &str| facts.as_ref()?.of(name).dims.map(|dims| dims.len());
        upgrade_nodes(&mut upgraded.graph.node, (from, opset), &ranks, &mut taken)?;
        for function in &mut upgraded.header.functions {
            let Some(import) = function.opset_import.iter_mut().find(|import| import.domain.is_empty())
            else {
                continue;
            };
            if import.version > opset {
                return Err(Error::Unsupported(format!(
                    "local function `{}` is written in opset {}, which is above {opset}",
                    function.name, import.version
                )));
            }
            // The names of values in a function are local to it.
            let inner = function.node.iter().flat_map(|node| &node.output).chain(&function.input);
            let mut taken = inner.cloned().collect();
            upgrade_nodes(&mut function.node, (import.version, opset), &|_| None, &mut taken)?;
            import.version = opset;
        }
        let import = upgraded.header.opset_import.iter_mut().find(|import| import.domain.is_empty());
        import.into_iter().for_each(|import| import.version = opset);
        Ok(upgraded)
    }
}

/// Upgrades nodes, and those in their subgraphs, from one opset to a higher one. New values get names that
/// are not in `taken`.
fn upgrade_nodes(
    nodes: &mut Vec<NodeProto>,
    (from, to): (i64, i64),
    ranks: Ranks<'_>,
    taken: &mut HashSet<String>,
) -> Result<()> {
    if from == to {
        return Ok(());
    }
    let mut moved = Vec::with_capacity(nodes.len());
    for mut node in std::mem::take(nodes) {
        for inner in walk::subgraphs_mut(&mut node) {
            // Values of a subgraph are not inferred; they may have the name of an outer value.
            upgrade_nodes(&mut inner.node, (from, to), &|_| None, taken)?;
        }
        if node.domain.is_empty() {
            let refuse = |node: &NodeProto, reason: String| Error::Opset {
                operator: node.op_type.clone(),
                node: node_name(node).to_owned(),
                from,
                to,
                reason,
            };
            let operator = operators::find(&node.op_type).filter(|operator| operator.since(from).is_some());
            let Some(operator) = operator else {
                return Err(refuse(&node, format!("opset {from} has no such operator")));
            };
            let mut flattened = false;
            for version in operator.versions.iter().filter(|version| (from + 1..=to).contains(version)) {
                let reason = match operator.change(*version) {
                    Some(Change::FlattenedAxis) => {
                        flattened = true;
                        continue;
                    }
                    Some(Change::MoreTypes | Change::NegativeAxes | Change::Compatible(_)) => continue,
                    Some(Change::AttributeToInput { attribute, input }) => {
                        moved.extend(rewrite::attribute_to_input(&mut node, attribute, input, taken));
                        continue;
                    }
                    Some(Change::CompatibleIf(test, _)) if test(&node) => continue,
                    Some(Change::CompatibleIf(_, reason) | Change::Incompatible(reason)) => reason,
                    None => "it is not known to mean the same",
                };
                return Err(refuse(&node, format!("opset {version} changed it: {reason}")));
            }
            if flattened {
                let rank = node.input.first().and_then(|input| ranks(input));
                moved.extend(rewrite::flattened_axis(node, rank, taken));
                continue;
            }
        }
        moved.push(node);
    }
    *nodes = moved;
    Ok(())
}
