//! What a recipe may set of the cross-attention fusion.

use chiasm_plugin::{Error, Json, Parameter, Result, json, within};
use serde::{Deserialize, Serialize};

/// How modalities are fused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
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

impl Mode {
    /// Whether one modality gives the queries and the others only keys.
    pub(crate) fn has_one_query_modality(self) -> bool {
        matches!(self, Self::Decoder | Self::OneWay)
    }

    /// Whether it reads tokens; the other modes read pooled vectors.
    pub(crate) fn attends(self) -> bool {
        matches!(self, Self::Decoder | Self::OneWay | Self::TwoWay | Self::Gated | Self::Latent)
    }
}

/// The recipe's parameters; those that are `None` are chosen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub mode: Mode,
    pub query: Option<String>,
    pub width: usize,
    pub heads: usize,
    pub depth: usize,
    pub hidden: usize,
    pub latents: usize,
    pub positions: Option<usize>,
    pub epochs: u64,
    pub batch: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub dropout: f64,
    pub modality_dropout: f64,
    pub patience: u64,
    pub temperature: f64,
    pub residual: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Decoder,
            query: None,
            width: 128,
            heads: 4,
            depth: 2,
            hidden: 256,
            latents: 16,
            positions: None,
            epochs: 60,
            batch: 64,
            learning_rate: 2e-3,
            weight_decay: 1e-2,
            dropout: 0.1,
            modality_dropout: 0.1,
            patience: 10,
            temperature: 0.07,
            residual: true,
        }
    }
}

impl Settings {
    pub(crate) fn read(parameters: &Json) -> Result<Self> {
        let settings: Self = chiasm_plugin::read_parameters(parameters)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        within("width", self.width as f64, 1.0, 8192.0)?;
        within("heads", self.heads as f64, 1.0, 256.0)?;
        within("depth", self.depth as f64, 1.0, 48.0)?;
        within("hidden", self.hidden as f64, 1.0, 65_536.0)?;
        within("latents", self.latents as f64, 1.0, 4096.0)?;
        within("positions", self.positions.unwrap_or(0) as f64, 0.0, 65_536.0)?;
        within("epochs", self.epochs as f64, 1.0, 1e6)?;
        within("batch", self.batch as f64, 1.0, 65_536.0)?;
        within("learning_rate", self.learning_rate, 1e-8, 10.0)?;
        within("weight_decay", self.weight_decay, 0.0, 100.0)?;
        within("dropout", self.dropout, 0.0, 0.95)?;
        within("modality_dropout", self.modality_dropout, 0.0, 0.95)?;
        within("patience", self.patience as f64, 1.0, 1e6)?;
        within("temperature", self.temperature, 1e-3, 10.0)?;
        if self.width.is_multiple_of(self.heads) {
            return Ok(());
        }
        let message = format!("a divisor of `width` = {}, got {}", self.width, self.heads);
        Err(Error::invalid(format!("parameter `heads`: expected {message}")))
    }
}

/// What `plugin inspect` lists.
pub(crate) fn parameters() -> Vec<Parameter> {
    let usual = Settings::default();
    let text = |name, default: Json, what| Parameter::new(name, "text", default, what);
    let integer = |name, default: Json, what| Parameter::new(name, "integer", default, what);
    let number = |name, default: f64, what| Parameter::new(name, "number", default, what);
    vec![
        text(
            "mode",
            json!(usual.mode),
            "decoder, one-way, two-way, gated, latent; pooled: concat, mean, gated-sum, bilinear, late.",
        ),
        text(
            "query",
            json!(null),
            "The modality of the queries, with the largest weight in the residual; the last when not set.",
        ),
        integer("width", json!(usual.width), "Width of every token inside the network."),
        integer("heads", json!(usual.heads), "Heads of every attention; they divide the width."),
        integer("depth", json!(usual.depth), "Layers of decoder, two-way and latent."),
        integer("hidden", json!(usual.hidden), "Hidden units of every feed-forward network."),
        integer("latents", json!(usual.latents), "Learned queries of latent."),
        integer(
            "positions",
            json!(null),
            "Position embeddings, 0 for none; the tokens of the longest training sequence when not set.",
        ),
        integer("epochs", json!(usual.epochs), "Passes over the training rows, at most."),
        integer("batch", json!(usual.batch), "Rows of a mini-batch."),
        number(
            "learning_rate",
            usual.learning_rate,
            "The largest step size; it falls to 0 as half a cosine.",
        ),
        number("weight_decay", usual.weight_decay, "Decoupled decay of matrices."),
        number("dropout", usual.dropout, "Fraction of the fused numbers set to zero at a step."),
        number(
            "modality_dropout",
            usual.modality_dropout,
            "Chance of each modality to be hidden from a row at a step.",
        ),
        integer(
            "patience",
            json!(usual.patience),
            "Epochs without a better loss on rows held out that end the training.",
        ),
        number(
            "temperature",
            usual.temperature,
            "Temperature of retrieval at the first step; it is learned.",
        ),
        Parameter::new(
            "residual",
            "true or false",
            json!(usual.residual),
            "Whether retrieval starts at the sum of the aligned vectors and learns a correction.",
        ),
    ]
}
