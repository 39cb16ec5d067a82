//! Versions of the `ai.onnx` operators, and moving a graph to a newer one where that is provably safe.
//!
//! Why so careful: ONNX Runtime runs a node with the meaning its model's opset gives it. A number changed
//! without looking is a wrong result without an error. So a graph moves only when every operator in it, in
//! its subgraphs and in its local functions, is unchanged or only widened at every step between (widening.rs,
//! curated by hand), or is one of the few whose attribute became an input and is rewritten here (rewrite.rs).
//! Everything else is refused by name.

mod flow;
mod operators;
mod rewrite;
mod widening;

use std::collections::HashSet;

use onnx_protobuf::NodeProto;

pub(crate) use flow::Flow;
pub(crate) use operators::NEWEST;

use flow::Operator;
use widening::Step;

use crate::{
    Error, Graph, Result,
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

/// The opset that gave an operator the form it has at `version`; `None` when there is no such operator yet.
pub(crate) fn since(name: &str, version: i64) -> Option<i64> {
    versions(name).iter().copied().filter(|since| *since <= version).max()
}

/// Where the element types of an operator's outputs come from; empty for an unknown operator.
pub(crate) fn flow(name: &str) -> &'static [Flow] {
    find(name).map_or(&[], |row| row.2)
}

fn versions(name: &str) -> &'static [i64] {
    find(name).map_or(&[], |row| row.1)
}

fn find(name: &str) -> Option<&'static Operator> {
    let at = operators::OPERATORS.binary_search_by_key(&name, |row| row.0).ok()?;
    operators::OPERATORS.get(at)
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
            if since(&node.op_type, from).is_none() {
                return Err(refuse(&node, format!("opset {from} has no such operator")));
            }
            let crossed =
                versions(&node.op_type).iter().filter(|version| from < **version && **version <= to);
            for version in crossed {
                match widening::step(&node, *version) {
                    Step::Keep => {}
                    Step::Rewrite(change) => moved.extend(rewrite::apply(&mut node, &change, taken)),
                    Step::Refuse(reason) => {
                        return Err(refuse(&node, format!("opset {version} changed it: {reason}")));
                    }
                }
            }
        }
        moved.push(node);
    }
    *nodes = moved;
    Ok(())
}
