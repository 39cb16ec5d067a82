//! What a recipe may say of the mlp aligner.

use chiasm_closed_form::PerModality;
use chiasm_plugin::{Json, Parameter, Result, json, within};
use serde::{Deserialize, Serialize};

/// The loss of a pair of modalities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Loss {
    Infonce,
    Siglip,
    Mse,
}

/// The recipe's parameters; what is `None` is chosen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub loss: Loss,
    pub temperature: f64,
    pub hidden: usize,
    pub members: usize,
    pub steps: Option<u64>,
    pub early_stopping: bool,
    pub batch: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub dropout: f64,
    pub noise: Option<PerModality<f64>>,
    pub spectral_norm: Option<f64>,
    pub reconstruction: f64,
    pub blend: Option<f64>,
    pub start: Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            loss: Loss::Infonce,
            temperature: 0.05,
            hidden: 256,
            members: 2,
            steps: None,
            early_stopping: false,
            batch: 1024,
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            dropout: 0.3,
            noise: None,
            spectral_norm: None,
            reconstruction: 0.0,
            blend: None,
            start: Json::Null,
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
        within("temperature", self.temperature, 1e-3, 10.0)?;
        within("hidden", self.hidden as f64, 0.0, 65_536.0)?;
        within("members", self.members as f64, 1.0, 64.0)?;
        within("steps", self.steps.unwrap_or(1) as f64, 1.0, 1e7)?;
        within("batch", self.batch as f64, 2.0, 65_536.0)?;
        within("learning_rate", self.learning_rate, 1e-8, 10.0)?;
        within("weight_decay", self.weight_decay, 0.0, 100.0)?;
        within("dropout", self.dropout, 0.0, 0.95)?;
        for ridge in chiasm_learned::values(self.noise.as_ref()) {
            within("noise", *ridge, 0.0, 1000.0)?;
        }
        within("spectral_norm", self.spectral_norm.unwrap_or(1.0), 1e-3, 1e3)?;
        within("reconstruction", self.reconstruction, 0.0, 1e3)?;
        within("blend", self.blend.unwrap_or(0.0), 0.0, 1.0)
    }

    /// The steps given, else 150 for up to a thousand rows, and more with the square root of their number.
    pub(crate) fn steps_for(&self, rows: usize) -> u64 {
        self.steps.unwrap_or_else(|| chiasm_learned::steps(150, rows))
    }
}

/// What `plugin inspect` lists.
pub(crate) fn parameters() -> Vec<Parameter> {
    let usual = Settings::default();
    let integer = |name, value: usize, what| Parameter::new(name, "integer", value, what);
    let number = |name, value: f64, what| Parameter::new(name, "number", value, what);
    let chosen = |name, kind, what| Parameter::new(name, kind, Json::Null, what);
    vec![
        Parameter::new("loss", "text", json!(usual.loss), "infonce, siglip or mse."),
        number("temperature", usual.temperature, "The temperature at the first step; it is learned."),
        integer("hidden", usual.hidden, "Hidden units of each network; 0 for a linear map."),
        integer("members", usual.members, "Networks trained from different seeds, their scores averaged."),
        chosen(
            "steps",
            "integer",
            "Mini-batches to train for; 150, and more above a thousand rows, when not set.",
        ),
        Parameter::new(
            "early_stopping",
            "true or false",
            usual.early_stopping,
            "Whether the loss on rows held out ends the training; on a few hundred rows that is too early.",
        ),
        integer("batch", usual.batch, "Examples in a mini-batch; each is contrasted with all others."),
        number(
            "learning_rate",
            usual.learning_rate,
            "The largest step size; it falls to 0 as half a cosine.",
        ),
        number("weight_decay", usual.weight_decay, "Decoupled decay, towards the start."),
        number("dropout", usual.dropout, "Fraction of the hidden units set to zero at a step."),
        chosen(
            "noise",
            "number or table",
            "Ridge that the training noise is equivalent to; the start's when not set.",
        ),
        chosen(
            "spectral_norm",
            "number",
            "Largest singular value of a network's layer; unbounded when not set.",
        ),
        number(
            "reconstruction",
            usual.reconstruction,
            "Weight of the decoders' error; above 0 gives every modality an approximate inverse.",
        ),
        chosen(
            "blend",
            "number",
            "Share of the networks in the score; chosen among 0, 0.5 and 1 when not set.",
        ),
        chosen("start", "table", "Parameters of the cca that the networks start from."),
    ]
}
