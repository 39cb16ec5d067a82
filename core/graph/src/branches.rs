//! Replaces what is known before a graph runs: `Constant` nodes by weights, and `If` nodes whose condition is
//! known by the nodes of the branch that is taken.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use onnx_protobuf::{GraphProto, NodeProto, TensorProto};

use crate::{
    Graph, operators,
    rename::free_name,
    shapes::{self, Facts},
    walk::{self, attribute},
    weight,
};

impl Graph {
    /// Returns the same function without `Constant` nodes that hold a tensor, and without `If` nodes whose
    /// condition is a constant or follows from constants and fixed lengths.
    pub(crate) fn with_known_branches(&self) -> Self {
        let mut known = self.clone();
        let mut facts = shapes::stated(self);
        let mut taken = self.value_names();
        let ports: HashSet<String> = self.graph.output.iter().map(|port| port.name.clone()).collect();
        let mut left: VecDeque<NodeProto> = std::mem::take(&mut known.graph.node).into();
        while let Some(node) = left.pop_front() {
            if let Some((name, tensor)) = constant(&node).filter(|(name, _)| !ports.contains(name)) {
                facts.set_weight(&name, &tensor);
                known.weights.insert(name, Arc::new(tensor));
            } else if let Some(branch) = branch_taken(&node, &facts) {
                let inlined = known.inline(branch.clone(), &node.output, &mut taken);
                for (name, tensor) in &known.weights {
                    if facts.of(name).dtype.is_none() {
                        facts.set_weight(name, tensor);
                    }
                }
                inlined.into_iter().rev().for_each(|inner| left.push_front(inner));
            } else {
                shapes::infer_node(&mut facts, &node);
                known.graph.node.push(node);
            }
        }
        known
    }

    /// Moves the weights and annotations of a branch into this graph, and returns its nodes, followed by one
    /// that names each output.
    fn inline(
        &mut self,
        mut branch: GraphProto,
        outputs: &[String],
        taken: &mut HashSet<String>,
    ) -> Vec<NodeProto> {
        let initializers = branch.initializer.iter().map(|tensor| tensor.name.clone());
        let values = branch.node.iter().flat_map(|node| node.output.iter().cloned());
        let mut names = HashMap::new();
        for name in initializers.chain(values).filter(|name| !name.is_empty()).collect::<HashSet<_>>() {
            let free = free_name(&name, taken);
            taken.insert(free.clone());
            names.insert(name, free);
        }
        walk::rename_values(&mut branch, &|name| names.get(name).cloned());
        for mut tensor in branch.initializer {
            let name = std::mem::take(&mut tensor.name);
            self.weights.insert(name, Arc::new(tensor));
        }
        self.graph.value_info.extend(branch.value_info);
        let mut nodes = branch.node;
        for (port, name) in branch.output.iter().zip(outputs).filter(|(_, name)| !name.is_empty()) {
            nodes.push(NodeProto {
                op_type: "Identity".to_owned(),
                input: vec![port.name.clone()],
                output: vec![name.clone()],
                ..Default::default()
            });
        }
        nodes
    }
}

/// The name and value of a `Constant` node that holds a tensor.
fn constant(node: &NodeProto) -> Option<(String, TensorProto)> {
    if node.op_type != "Constant" || operators::of(node).is_none() {
        return None;
    }
    let mut tensor = attribute(node, "value")?.t.as_ref()?.clone();
    weight::normalize(&mut tensor).ok()?;
    tensor.name.clear();
    Some((node.output.first()?.clone(), tensor))
}

/// The branch of an `If` node that is taken; `None` if the condition is not known, or the branch holds what
/// the main graph cannot.
fn branch_taken<'a>(node: &'a NodeProto, facts: &Facts) -> Option<&'a GraphProto> {
    if node.op_type != "If" || operators::of(node).is_none() {
        return None;
    }
    let [condition] = facts.known_elements(node.input.first()?)?[..] else { return None };
    let name = if condition != 0 { "then_branch" } else { "else_branch" };
    let branch = attribute(node, name)?.g.as_ref()?;
    let whole = branch.initializer.iter().all(|tensor| weight::normalize(&mut tensor.clone()).is_ok());
    (branch.sparse_initializer.is_empty() && whole).then_some(branch)
}
