//! The results of fits: graphs, parameters and notes.

use chiasm_graph::Graph;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The result of an aligner: a map of every modality into one shared space.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The map of each modality, in the order of the specification: input `x` f32 `[batch, dim]`, output `z`
    /// f32 `[batch, k]` with rows of unit length and the same k for all. The score of two items is the dot
    /// product of their `z`.
    pub maps: Vec<Graph>,
    /// The inverse of each map, where one exists; in the same order.
    pub inverses: Vec<Option<Inverse>>,
    /// All parameters, including those that a search selected. A fit with them needs no search.
    pub parameters: Value,
    /// Metrics and explanations, such as why there is no inverse.
    pub notes: Value,
}

impl Learned {
    /// Returns maps without inverses and notes.
    pub fn new(maps: Vec<Graph>, parameters: Value) -> Self {
        let inverses = maps.iter().map(|_| None).collect();
        Self { maps, inverses, parameters, notes: Value::Null }
    }
}

/// The inverse of one map: input `z` f32 `[batch, k]`, output `x` f32 `[batch, dim]`.
#[derive(Clone, Debug)]
pub struct Inverse {
    /// The graph.
    pub graph: Graph,
    /// The sense in which it is an inverse.
    pub kind: InverseKind,
}

/// The sense in which a map is an inverse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InverseKind {
    /// Both a left and a right inverse.
    TwoSided,
    /// `inverse(map(x)) = x`: the map loses nothing.
    Left,
    /// `map(inverse(z)) = z`: the map reaches every `z`.
    Right,
    /// `inverse(map(x))` approximates `x`, as a trained decoder does.
    Approximate,
}

/// The result of a fusion: a graph from several modalities to one vector.
#[derive(Clone, Debug)]
pub struct Fused {
    /// Inputs, any of these for each modality: `<modality>.pooled` `[batch, k]`, `<modality>.mask`
    /// `[batch, T]`, and, for a fusion that reads tokens, `<modality>.tokens` `[batch, T, d]`, with T free.
    /// Outputs: `fused` `[batch, f]`, `logits` `[batch, c]` when the task has labels, and optionally
    /// `attention.<modality>` `[batch, T]`, the share of the attention that each token gets.
    ///
    /// A row of zeros in a mask means that the modality is absent from that row.
    pub graph: Graph,
    /// Metrics and explanations.
    pub notes: Value,
}
