//! The parameters of the cross-attention fusion.

use chiasm_plugin::{Choice, ParameterError, Parameters};
use serde::{Deserialize, Serialize};

/// How modalities are fused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Choice)]
#[serde(rename_all = "kebab-case")]
pub enum FusionMode {
    /// One modality attends to itself and to the others, layer by layer.
    Decoder,
    /// One modality attends to the others, in one layer.
    OneWay,
    /// Each attends to itself and to the others, layer by layer.
    TwoWay,
    /// Each is mixed, by a learned balance, with its attention to linear maps of the others.
    Gated,
    /// Learned queries attend to all tokens.
    Latent,
    /// Pooled vectors side by side.
    Concat,
    /// The mean of projected pooled vectors.
    Mean,
    /// Their sum, with shares that depend on all of them (Arevalo et al. 2017).
    GatedSum,
    /// Their products in a low-rank space (Kim et al. 2017), averaged over the pairs of modalities.
    Bilinear,
    /// The answer of each alone, averaged.
    Late,
}

impl FusionMode {
    /// Whether one modality gives the queries and the others only keys.
    pub(crate) fn has_one_query_modality(self) -> bool {
        matches!(self, Self::Decoder | Self::OneWay)
    }

    /// Returns whether the mode reads tokens; the other modes read pooled vectors.
    pub(crate) fn attends(self) -> bool {
        matches!(self, Self::Decoder | Self::OneWay | Self::TwoWay | Self::Gated | Self::Latent)
    }
}

/// The parameters of the cross-attention fusion; those that are not set are chosen.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default, deny_unknown_fields)]
#[parameters(check = Self::check_heads)]
pub struct CrossAttentionParameters {
    /// How modalities are fused. The modes decoder, one-way, two-way, gated and latent read tokens; the
    /// others read pooled vectors.
    #[parameter(default = FusionMode::Decoder)]
    pub mode: FusionMode,
    /// The modality of the queries, with the largest weight in the residual; the last one when not set.
    pub query: Option<String>,
    /// Width of every token inside the network.
    #[parameter(default = 128, range = 1..=8192)]
    pub width: usize,
    /// Heads of every attention; their number divides the width.
    #[parameter(default = 4, range = 1..=256)]
    pub heads: usize,
    /// Layers of the modes decoder, two-way and latent.
    #[parameter(default = 2, range = 1..=48)]
    pub depth: usize,
    /// Hidden units of every feed-forward network.
    #[parameter(default = 256, range = 1..=65_536)]
    pub hidden: usize,
    /// Learned queries of the mode latent.
    #[parameter(default = 16, range = 1..=4096)]
    pub latents: usize,
    /// Number of position embeddings, 0 for none; the tokens of the longest training sequence when not set.
    #[parameter(range = 0..=65_536)]
    pub positions: Option<usize>,
    /// The largest number of passes over the training rows.
    #[parameter(default = 60, range = 1..=1_000_000)]
    pub epochs: u64,
    /// Rows of a mini-batch.
    #[parameter(default = 64, range = 1..=65_536)]
    pub batch: usize,
    /// The largest step size; it falls to 0 as half a cosine.
    #[parameter(default = 2e-3, range = 1e-8..=10)]
    pub learning_rate: f64,
    /// Decoupled weight decay of matrices.
    #[parameter(default = 1e-2, range = 0..=100)]
    pub weight_decay: f64,
    /// Fraction of the fused numbers set to zero at a step.
    #[parameter(default = 0.1, range = 0.0..=0.95)]
    pub dropout: f64,
    /// Probability of each modality to be hidden from a row at a step.
    #[parameter(default = 0.1, range = 0.0..=0.95)]
    pub modality_dropout: f64,
    /// Epochs without a better loss on the rows held out that end the training.
    #[parameter(default = 10, range = 1..=1_000_000)]
    pub patience: u64,
    /// Temperature of retrieval at the first step; it is learned.
    #[parameter(default = 0.07, range = 1e-3..=10)]
    pub temperature: f64,
    /// A mode that is trained first; the network then learns from its answers as well as from the labels
    /// (distillation). For classification.
    pub teacher: Option<FusionMode>,
    /// Weight of the teacher's answers in the loss; that of the labels is 1 minus this.
    #[parameter(default = 0.5, range = 0.0..=1.0)]
    pub teacher_weight: f64,
    /// Temperature of the teacher's probabilities: a larger one makes them more even.
    #[parameter(default = 2.0, range = 0.05..=100)]
    pub teacher_temperature: f64,
    /// Whether retrieval starts at the sum of the aligned vectors and learns a correction.
    #[parameter(default = true)]
    pub residual: bool,
}

impl CrossAttentionParameters {
    /// Whether the network or its teacher reads tokens.
    pub(crate) fn reads_tokens(&self) -> bool {
        self.mode.attends() || self.teacher.is_some_and(FusionMode::attends)
    }

    fn check_heads(&self) -> Result<(), ParameterError> {
        if self.width.is_multiple_of(self.heads) {
            return Ok(());
        }
        let expected = format!("a divisor of `width` = {}", self.width);
        Err(ParameterError::new("heads", expected, self.heads.to_string()))
    }
}
