//! What a recipe may set of the cycle aligner.

use std::collections::BTreeMap;

use chiasm_closed_form::PerModality;
use chiasm_learned::{check_names, value_of, values};
use chiasm_plugin::{Json, Parameter, Result, json, within};
use serde::{Deserialize, Serialize};

/// A training's settings that the rows held out may choose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub cycle: f64,
    pub steps: u64,
}

/// The recipe's parameters; those that are `None` are chosen. What concerns a pair is set by the name of its
/// modality that is not the reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub cycle: Option<PerModality<f64>>,
    pub contrast: f64,
    pub injectivity: f64,
    pub margin: f64,
    pub smoothness: f64,
    pub hidden: usize,
    pub steps: Option<PerModality<u64>>,
    pub batch: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub ridges: Option<PerModality<[f64; 2]>>,
    pub train: Option<PerModality<bool>>,
    pub curve: Option<PerModality<String>>,
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
            curve: None,
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
            ("contrast", self.contrast),
            ("injectivity", self.injectivity),
            ("smoothness", self.smoothness),
            ("margin", self.margin),
        ] {
            within(name, weight, 0.0, 1e3)?;
        }
        for weight in values(self.cycle.as_ref()) {
            within("cycle", *weight, 0.0, 1e3)?;
        }
        for steps in values(self.steps.as_ref()) {
            within("steps", *steps as f64, 1.0, 1e7)?;
        }
        for ridge in values(self.ridges.as_ref()).into_iter().flatten() {
            within("ridges", *ridge, 1e-6, 1000.0)?;
        }
        within("hidden", self.hidden as f64, 0.0, 65_536.0)?;
        within("batch", self.batch as f64, 2.0, 65_536.0)?;
        within("learning_rate", self.learning_rate, 1e-8, 10.0)?;
        within("weight_decay", self.weight_decay, 0.0, 100.0)
    }

    /// Fails on a table with a name that is none of the modalities.
    pub(crate) fn check_names(&self, names: &[&str]) -> Result<()> {
        check_names("cycle", self.cycle.as_ref(), names)?;
        check_names("steps", self.steps.as_ref(), names)?;
        check_names("ridges", self.ridges.as_ref(), names)?;
        check_names("train", self.train.as_ref(), names)?;
        check_names("curve", self.curve.as_ref(), names)
    }

    /// The steps given for a pair, else 200 for up to a thousand rows, and more with the square root of their
    /// number.
    pub(crate) fn steps_of(&self, name: &str, rows: usize) -> u64 {
        value_of(self.steps.as_ref(), name).copied().unwrap_or_else(|| chiasm_learned::steps(200, rows))
    }

    /// The weight of the cycle given for a pair.
    pub(crate) fn cycle_of(&self, name: &str) -> Option<f64> {
        value_of(self.cycle.as_ref(), name).copied()
    }

    /// Whether a pair is trained, if that is given.
    pub(crate) fn train_of(&self, name: &str) -> Option<bool> {
        value_of(self.train.as_ref(), name).copied()
    }

    /// The curves given for these modalities.
    pub(crate) fn curve_of(&self, names: &[&str]) -> Option<BTreeMap<String, String>> {
        let given = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), value_of(self.curve.as_ref(), name)?.clone())));
        self.curve.is_some().then(|| given.collect())
    }

    /// Sets what was chosen for a pair.
    pub(crate) fn record(&mut self, name: &str, train: bool, schedule: Schedule, ridges: [f64; 2]) {
        set(&mut self.train, name, train);
        set(&mut self.ridges, name, ridges);
        if train {
            set(&mut self.cycle, name, schedule.cycle);
            set(&mut self.steps, name, schedule.steps);
        }
    }
}

/// Sets the value of one modality; a value for all others stays out of the table, since each is set in turn.
fn set<T>(given: &mut Option<PerModality<T>>, name: &str, value: T) {
    let mut table = match given.take() {
        Some(PerModality::Each(table)) => table,
        _ => BTreeMap::new(),
    };
    table.insert(name.to_owned(), value);
    *given = Some(PerModality::Each(table));
}

/// What `plugin inspect` lists.
pub(crate) fn parameters() -> Vec<Parameter> {
    let usual = Settings::default();
    let number = |name, value: f64, what| Parameter::new(name, "number", value, what);
    let chosen = |name, kind, what| Parameter::new(name, kind, Json::Null, what);
    vec![
        chosen(
            "cycle",
            "number or table",
            "Weight of the round trips; the largest of 1, 0.3, 0.1 and 0.03 that keeps recall when not set.",
        ),
        number("contrast", usual.contrast, "Weight of InfoNCE, each pair against the others in the batch."),
        number(
            "injectivity",
            usual.injectivity,
            "Weight of the hinge that keeps images of different items apart.",
        ),
        number("margin", usual.margin, "Mean squared distance, per coordinate, below which the hinge acts."),
        number(
            "smoothness",
            usual.smoothness,
            "Weight of the squared Jacobian, estimated along one random direction an example.",
        ),
        Parameter::new(
            "hidden",
            "integer",
            json!(usual.hidden),
            "Hidden units of each network; 0 for linear maps.",
        ),
        chosen(
            "steps",
            "integer or table",
            "Mini-batches to train for; chosen by early stopping unless `train` is set too.",
        ),
        Parameter::new("batch", "integer", json!(usual.batch), "Examples in a mini-batch."),
        number(
            "learning_rate",
            usual.learning_rate,
            "The largest step size; it falls to 0 as half a cosine.",
        ),
        number("weight_decay", usual.weight_decay, "Decoupled decay, towards the ridge maps."),
        chosen(
            "ridges",
            "list of numbers or table",
            "Ridges of the maps to the reference and back, relative to the top variance.",
        ),
        chosen(
            "train",
            "true or false or table",
            "Whether the trained pair is returned or the ridge pair; rows held out decide when not set.",
        ),
        chosen(
            "curve",
            "text or table",
            "What items go through before they are brought to length one: unit or signed-root.",
        ),
    ]
}
