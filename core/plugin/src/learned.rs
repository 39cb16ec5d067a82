//! What a fit brings back: graphs, what was chosen, what was seen.

use chiasm_graph::Graph;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A map of every modality into one shared space.
#[derive(Clone, Debug)]
pub struct Learned {
    /// One map for each modality, in the order of the specification: input `x` f32 `[batch, dim]`, output `z` f32
    /// `[batch, k]`, rows of length one, the same k for all. The score of two items is the dot product of their `z`.
    pub maps: Vec<Graph>,
    /// The way back from the shared space into each modality, where one exists; in the same order.
    pub inverses: Vec<Option<Inverse>>,
    /// Every setting, also those that were chosen: given back as parameters, they fit again without a search.
    pub parameters: Value,
    /// Metrics and reasons, such as why there is no inverse.
    pub notes: Value,
}

impl Learned {
    /// Maps without inverses and notes.
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
    /// In which sense it is an inverse.
    pub kind: InverseKind,
}

/// In which sense a map is an inverse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InverseKind {
    /// Both of the below.
    TwoSided,
    /// `inverse(map(x)) = x`: nothing was lost on the way.
    Left,
    /// `map(inverse(z)) = z`: every `z` is reached.
    Right,
    /// `inverse(map(x))` is near `x`, as near as a trained decoder comes.
    Approximate,
}

/// A map from several modalities into one vector.
#[derive(Clone, Debug)]
pub struct Fused {
    /// Inputs, any of these for each modality: `<modality>.pooled` `[batch, k]`, `<modality>.mask` `[batch, T]`,
    /// and, for a fusion that reads tokens, `<modality>.tokens` `[batch, T, d]`, with T free. Outputs: `fused`
    /// `[batch, f]`, `logits` `[batch, c]` when the task has labels, and optionally `attention.<modality>`
    /// `[batch, T]`, the share of the attention that each token gets.
    ///
    /// A row of zeros in a mask means that the modality is absent from that row.
    pub graph: Graph,
    /// Metrics and reasons.
    pub notes: Value,
}
