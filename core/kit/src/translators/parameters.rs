//! The parameters of maps onto a reference and back.

use std::collections::BTreeMap;

use chiasm_closed_form::Curve;
use chiasm_plugin::{ParameterError, Parameters, PerModality};
use serde::{Deserialize, Serialize};

use crate::terms::{TermSettings, TermWeights};

/// The parameters of a training that may be chosen on rows held out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub cycle: f64,
    pub steps: u64,
}

/// The parameters of maps onto a reference and back; those that are not set are chosen. What concerns a pair
/// is set by the name of its modality that is not the reference.
#[derive(Debug, Clone, Serialize, Deserialize, Parameters)]
#[serde(default)]
pub struct TranslatorParameters {
    /// The weights of the terms of the objective; those of the method where not set.
    pub terms: TermWeights,
    /// Weight of the term `cycle` by modality; chosen among 1, 0.3, 0.1 and 0.03 where neither is set.
    #[parameter(range = 0..=1000)]
    pub cycle: Option<PerModality<f64>>,
    /// The temperature of InfoNCE, SigLIP and the Gram volume.
    #[parameter(default = 0.1, range = 1e-3..=10)]
    pub tau: f64,
    /// The settings of the terms.
    #[serde(flatten)]
    #[parameter(flatten, default = TermSettings { margin: 0.7, ..TermSettings::default() })]
    pub settings: TermSettings,
    /// Hidden units of each network; 0 for linear maps.
    #[parameter(default = 256, range = 0..=65_536)]
    pub hidden: usize,
    /// Mini-batches to train for; chosen by early stopping unless `train` is set too.
    #[parameter(range = 1..=10_000_000)]
    pub steps: Option<PerModality<u64>>,
    /// Examples in a mini-batch.
    #[parameter(default = 512, range = 2..=65_536)]
    pub batch: usize,
    /// The largest step size; it falls to 0 as half a cosine.
    #[parameter(default = 1e-3, range = 1e-8..=10)]
    pub learning_rate: f64,
    /// Decoupled weight decay, towards the ridge maps.
    #[parameter(default = 1e-2, range = 0..=100)]
    pub weight_decay: f64,
    /// Ridges of the maps to the reference and back, relative to the largest variance.
    #[parameter(range = 1e-6..=1000)]
    pub ridges: Option<PerModality<[f64; 2]>>,
    /// Whether the trained pair is returned or the ridge pair; rows held out decide when not set.
    pub train: Option<PerModality<bool>>,
    /// What items go through before they are brought to length one.
    pub curve: Option<PerModality<Curve>>,
}

impl TranslatorParameters {
    /// Checks that the names in all tables are modalities.
    pub(super) fn check_names(&self, names: &[&str]) -> Result<(), ParameterError> {
        fn check<T>(
            name: &str,
            given: Option<&PerModality<T>>,
            names: &[&str],
        ) -> Result<(), ParameterError> {
            given.map_or(Ok(()), |given| given.check_names(name, names))
        }
        check("cycle", self.cycle.as_ref(), names)?;
        check("steps", self.steps.as_ref(), names)?;
        check("ridges", self.ridges.as_ref(), names)?;
        check("train", self.train.as_ref(), names)?;
        check("curve", self.curve.as_ref(), names)
    }

    /// Returns the steps given for a pair, else the default for this number of rows.
    pub(super) fn steps_of(&self, name: &str, rows: usize) -> u64 {
        self.steps
            .as_ref()
            .and_then(|given| given.get(name))
            .copied()
            .unwrap_or_else(|| crate::steps(200, rows))
    }

    /// The weight of the term `cycle` given for a pair, or for all pairs.
    pub(super) fn cycle_of(&self, name: &str) -> Option<f64> {
        self.cycle.as_ref().and_then(|given| given.get(name)).copied().or(self.terms.cycle)
    }

    /// Whether a pair is trained, if that is given.
    pub(super) fn train_of(&self, name: &str) -> Option<bool> {
        self.train.as_ref().and_then(|given| given.get(name)).copied()
    }

    /// The curves given for these modalities.
    pub(super) fn curve_of(&self, names: &[&str]) -> Option<PerModality<Curve>> {
        let given = self.curve.as_ref()?;
        let known = names.iter().filter_map(|name| Some(((*name).to_owned(), *given.get(name)?)));
        Some(PerModality::Each(known.collect()))
    }

    /// Sets what was chosen for a pair.
    pub(super) fn record(&mut self, name: &str, train: bool, schedule: Schedule, ridges: [f64; 2]) {
        set(&mut self.train, name, train);
        set(&mut self.ridges, name, ridges);
        if train {
            set(&mut self.cycle, name, schedule.cycle);
            set(&mut self.steps, name, schedule.steps);
        }
    }
}

/// Sets the value of one modality. A value for all modalities is dropped, because each is set in turn.
fn set<T>(given: &mut Option<PerModality<T>>, name: &str, value: T) {
    let mut table = match given.take() {
        Some(PerModality::Each(table)) => table,
        _ => BTreeMap::new(),
    };
    table.insert(name.to_owned(), value);
    *given = Some(PerModality::Each(table));
}
