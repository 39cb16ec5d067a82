//! What a fit brings back: graphs, what was chosen, what was seen.

use chiasm_graph::Graph;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Two maps into a shared space.
#[derive(Clone, Debug)]
pub struct Learned {
    /// Input `x` `[batch, dA]`, output `z` `[batch, k]`, rows of unit length: the score of a pair is a dot product.
    pub source: Graph,
    /// Input `y` `[batch, dB]`, output `z` `[batch, k]`, likewise.
    pub target: Graph,
    /// The way back into the source space, where one exists.
    pub inverse: Option<Inverse>,
    /// Everything chosen: given back as parameters, it refits without a search.
    pub parameters: Value,
    /// Metrics and reasons, e.g. why there is no inverse.
    pub notes: Value,
}

/// The way back: input `z` `[batch, k]`, output `x` `[batch, dA]`.
#[derive(Clone, Debug)]
pub struct Inverse {
    /// The graph.
    pub graph: Graph,
    /// What it undoes.
    pub kind: InverseKind,
}

/// In which sense a map is an inverse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InverseKind {
    /// Both of the below.
    TwoSided,
    /// `inverse(source(x)) = x`: nothing was lost on the way.
    Left,
    /// `source(inverse(z)) = z`: every `z` is reached.
    Right,
    /// `inverse(source(x))` is near `x`, as near as a trained decoder comes.
    Approximate,
}

/// A map from several modalities into one vector.
#[derive(Clone, Debug)]
pub struct Fused {
    /// Inputs, those it wants of each modality: `<modality>.pooled` `[batch, k]`, and for a fusion that reads tokens `<modality>.tokens` `[batch, T, d]` and
    /// `<modality>.mask` `[batch, T]`, with T free. Outputs: `fused` `[batch, f]`, and `logits` `[batch, c]` when the task has labels; and
    /// if it likes, where its attention went: `attention.<modality>` `[batch, T]`, the share of looks that each token got.
    ///
    /// A mask row of zeros says that the modality is absent there.
    pub graph: Graph,
    /// Metrics and reasons.
    pub notes: Value,
}
