//! Versions of the `ai.onnx` operators, and moving a graph to a newer one where that is provably safe.
//!
//! Why so careful: ONNX Runtime runs a node with the meaning its model's opset gives it. A number changed
//! without looking is a wrong result without an error. So a graph moves only when every operator in it, in
//! its subgraphs and in its local functions, is unchanged or only widened at every step between (widening.rs,
//! curated by hand), or is one of the few whose attribute became an input and is rewritten here (rewrite.rs).
//! Everything else is refused by name.

mod rewrite;

use std::collections::HashSet;

use onnx_protobuf::NodeProto;

use crate::{
    Error, Graph, Result,
    operators::{self, Change, NEWEST},
    walk::{self, node_name},
};

impl Graph {
    /// The graph with its operators' version raised to `opset`, meaning the same; a refusal names the
    /// operator, the node and both versions. A lower version than the graph's is refused.
    pub fn upgraded(&self, opset: i64) -> Result<Self> {
        let from = self.opset();
        if opset < from || opset > NEWEST.max(from) {
            return Err(Error::Unsupported(format!(
                "a graph in opset {from} cannot be moved to opset {opset}; possible are {from} to {}",
                NEWEST.max(from)
            )));
        }
        let mut raised = self.clone();
        let mut taken = if from == opset { HashSet::new() } else { self.value_names() };
        cross(&mut raised.graph.node, from, opset, &mut taken)?;
        for function in &mut raised.header.functions {
            let Some(import) = function.opset_import.iter_mut().find(|import| import.domain.is_empty())
            else {
                continue;
            };
            if import.version > opset {
                return Err(Error::Unsupported(format!(
                    "local function `{}` is written in opset {}, above {opset}",
                    function.name, import.version
                )));
            }
            // Inside a function names are its own.
            let inner = function.node.iter().flat_map(|node| &node.output).chain(&function.input);
            let mut taken = inner.cloned().collect();
            cross(&mut function.node, import.version, opset, &mut taken)?;
            import.version = opset;
        }
        let import = raised.header.opset_import.iter_mut().find(|import| import.domain.is_empty());
        import.into_iter().for_each(|import| import.version = opset);
        Ok(raised)
    }
}

/// Moves nodes, and those in their subgraphs, from one opset to a higher one; new values get names that are
/// not taken.
fn cross(nodes: &mut Vec<NodeProto>, from: i64, to: i64, taken: &mut HashSet<String>) -> Result<()> {
    if from == to {
        return Ok(());
    }
    let mut moved = Vec::with_capacity(nodes.len());
    for mut node in std::mem::take(nodes) {
        for inner in walk::subgraphs_mut(&mut node) {
            cross(&mut inner.node, from, to, taken)?;
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
            for version in operator.versions.iter().filter(|version| (from + 1..=to).contains(version)) {
                let reason = match operator.change(*version) {
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
        }
        moved.push(node);
    }
    *nodes = moved;
    Ok(())
}
