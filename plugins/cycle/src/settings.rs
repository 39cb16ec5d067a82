//! What a recipe may say of the cycle aligner.

use chiasm_plugin::{Json, Parameter, Result, json, within};
use serde::{Deserialize, Serialize};

/// The recipe's parameters; what is `None` is chosen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub cycle: Option<f64>,
    pub contrast: f64,
    pub injectivity: f64,
    pub margin: f64,
    pub smoothness: f64,
    pub hidden: usize,
    pub steps: Option<u64>,
    pub batch: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub ridges: Option<[f64; 2]>,
    pub train: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_blocks: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_blocks: Option<Vec<usize>>,
    pub source_curve: Option<String>,
    pub target_curve: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cycle: None,
            contrast: 1.0,
            injectivity: 0.1,
            margin: 0.5,
            smoothness: 1e-3,
            hidden: 256,
            steps: None,
            batch: 512,
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            ridges: None,
            train: None,
            source_blocks: None,
            target_blocks: None,
            source_curve: None,
            target_curve: None,
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
        for (name, weight) in [
            ("cycle", self.cycle.unwrap_or(0.0)),
            ("contrast", self.contrast),
            ("injectivity", self.injectivity),
            ("smoothness", self.smoothness),
            ("margin", self.margin),
        ] {
            within(name, weight, 0.0, 1e3)?;
        }
        within("hidden", self.hidden as f64, 0.0, 65_536.0)?;
        within("steps", self.steps.unwrap_or(1) as f64, 1.0, 1e7)?;
        within("batch", self.batch as f64, 2.0, 65_536.0)?;
        within("learning_rate", self.learning_rate, 1e-8, 10.0)?;
        within("weight_decay", self.weight_decay, 0.0, 100.0)?;
        for ridge in self.ridges.into_iter().flatten() {
            within("ridges", ridge, 1e-6, 1000.0)?;
        }
        Ok(())
    }

    /// Steps when not said: 200 for up to a thousand rows, and more with the root of their number.
    pub(crate) fn steps_for(&self, rows: usize) -> u64 {
        self.steps.unwrap_or_else(|| chiasm_learned::steps(200, rows))
    }

    pub(crate) fn blocks(&self) -> [Option<&[usize]>; 2] {
        [self.source_blocks.as_deref(), self.target_blocks.as_deref()]
    }
}

/// What `plugin inspect` lists.
pub(crate) fn parameters() -> Vec<Parameter> {
    let usual = Settings::default();
    let number = |name, value: f64, what| Parameter::new(name, "number", value, what);
    let chosen = |name, kind, what| Parameter::new(name, kind, Json::Null, what);
    vec![
        chosen(
            "cycle",
            "number",
            "Weight of coming back, both ways round; the heaviest of 1, 0.3, 0.1 and 0.03 that keeps recall when not set.",
        ),
        number(
            "contrast",
            usual.contrast,
            "Weight of telling each pair from the others in the batch (InfoNCE).",
        ),
        number(
            "injectivity",
            usual.injectivity,
            "Weight of the hinge that keeps images of different rows apart.",
        ),
        number("margin", usual.margin, "Mean square distance, per coordinate, below which the hinge pushes."),
        number(
            "smoothness",
            usual.smoothness,
            "Weight of the squared Jacobian, estimated along one random direction a row.",
        ),
        Parameter::new(
            "hidden",
            "integer",
            json!(usual.hidden),
            "Hidden units of each network; 0 leaves linear maps.",
        ),
        chosen(
            "steps",
            "integer",
            "Mini-batches to train for; chosen by early stopping unless `train` is set too.",
        ),
        Parameter::new("batch", "integer", json!(usual.batch), "Pairs in a mini-batch."),
        number(
            "learning_rate",
            usual.learning_rate,
            "The largest step size; it falls to 0 as half a cosine.",
        ),
        number("weight_decay", usual.weight_decay, "Decoupled decay, towards the ridge maps."),
        chosen(
            "ridges",
            "list of numbers",
            "Ridges of the maps there and back, relative to the top variance.",
        ),
        chosen(
            "train",
            "true or false",
            "Whether the trained pair is delivered or the ridge pair; rows held out decide when not set.",
        ),
        chosen(
            "source_curve",
            "text",
            "What source rows go through before they are brought to length one: unit or signed-root.",
        ),
        chosen(
            "target_curve",
            "text",
            "What target rows go through before they are brought to length one: unit or signed-root.",
        ),
        chosen(
            "source_blocks",
            "list of integers",
            "Widths of the encoders that stand side by side in a source row.",
        ),
        chosen(
            "target_blocks",
            "list of integers",
            "Widths of the encoders that stand side by side in a target row.",
        ),
    ]
}
