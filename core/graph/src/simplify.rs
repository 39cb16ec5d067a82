//! Pruning: what nothing needs is dropped, what is equal is computed once.
//!
//! Why here and not left to the runtime: derivatives repeat many small parts (shapes, squares, `e^-x^2`), and
//! the training step is fused into few passes afterwards, which needs them gone. Weights are left alone:
//! equal start values of two weights that are trained do not make them one.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::{Message as _, NodeProto};

use crate::{Graph, operators, walk};

impl Graph {
    /// The same graph without dead nodes and weights, with equal nodes merged; ports stay.
    #[must_use]
    pub fn simplified(&self) -> Self {
        let mut merged = self.clone();
        merged.merge_equal();
        let outputs: Vec<String> = merged.graph.output.iter().map(|port| port.name.clone()).collect();
        let inputs = merged.graph.input.clone();
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        // Every name is an output already, so that nothing is exposed and nothing can be refused.
        let mut pruned = merged.extract(&names).unwrap_or(merged);
        pruned.graph.input = inputs;
        pruned
    }

    /// Lets every use of a node's outputs refer to the first node that computes the same.
    fn merge_equal(&mut self) {
        let ports: HashSet<String> = self.graph.output.iter().map(|port| port.name.clone()).collect();
        let mut same: HashMap<String, String> = HashMap::new();
        let mut seen: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
        let mut kept = Vec::with_capacity(self.graph.node.len());
        for mut node in std::mem::take(&mut self.graph.node) {
            let rename = |name: &mut String| {
                if let Some(first) = same.get(name) {
                    first.clone_into(name);
                }
            };
            node.input.iter_mut().for_each(rename);
            for inner in walk::subgraphs_mut(&mut node) {
                walk::rename_values(inner, &|name| same.get(name).cloned());
            }
            let free = node.output.iter().all(|name| !ports.contains(name));
            if let Some(key) = key(&node) {
                match seen.get(&key) {
                    Some(first) if free => {
                        same.extend(node.output.iter().cloned().zip(first.iter().cloned()));
                        continue;
                    }
                    Some(_) => {}
                    None => drop(seen.insert(key, node.output.clone())),
                }
            }
            kept.push(node);
        }
        self.graph.node = kept;
    }
}

/// What a node computes, as bytes; `None` for one that must not be merged.
fn key(node: &NodeProto) -> Option<Vec<u8>> {
    if operators::of(node)?.random || walk::subgraphs(node).next().is_some() {
        return None;
    }
    let mut bare = node.clone();
    bare.name.clear();
    bare.output
        .iter_mut()
        .for_each(|name| *name = if name.is_empty() { String::new() } else { "y".to_owned() });
    bare.attribute.sort_by(|a, b| a.name.cmp(&b.name));
    bare.write_to_bytes().ok()
}
