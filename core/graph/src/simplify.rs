//! Simplification: removes unused nodes and weights, and merges equal nodes.
//!
//! This is not left to the engine, because derivatives repeat many small computations (shapes, squares,
//! `e^(-x^2)`) that must be merged before the graph is fused (`fuse.rs`). Equal weights are not merged:
//! weights that are trained may start from equal values.

use std::collections::{HashMap, HashSet};

use onnx_protobuf::{Message as _, NodeProto};

use crate::{Graph, operators, walk};

impl Graph {
    /// Returns the same function without unused nodes and weights and with equal nodes merged; ports are
    /// kept.
    #[must_use]
    pub fn simplified(&self) -> Self {
        let mut merged = self.clone();
        merged.merge_equal();
        let outputs: Vec<String> = merged.graph.output.iter().map(|port| port.name.clone()).collect();
        let inputs = merged.graph.input.clone();
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        // All names are outputs already, so that this cannot fail.
        let mut pruned = merged.extract(&names).unwrap_or(merged);
        pruned.graph.input = inputs;
        pruned
    }

    /// Replaces every node by the first node that computes the same.
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

/// What a node computes, as bytes that are equal for equal nodes; `None` for a node that must not be merged.
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
