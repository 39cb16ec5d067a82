//! What a training brings back.

use std::collections::BTreeMap;

use chiasm_graph::Tensor;
use serde::{Deserialize, Serialize};

/// The weights kept, and how they came about.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The trained weights (and those carried along), in the objective's order.
    pub weights: Vec<(String, Tensor)>,
    /// How they came about.
    pub report: Report,
}

/// How a training went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Steps taken.
    pub steps: u64,
    /// The step whose weights were kept; 0 are the starting weights.
    pub best_step: u64,
    /// Why it ended.
    pub stopped: Stopped,
    /// One point for every check, the start included.
    pub curve: Vec<Point>,
}

/// Why a training ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// All steps were taken.
    Finished,
    /// So many checks brought nothing better.
    Early(u64),
    /// The loss was no number, or exploded.
    Diverged(String),
}

/// What a check saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps taken.
    pub step: u64,
    /// The step size of the last of them.
    pub rate: f32,
    /// The outputs' means over the steps since the last check, where they are finite; empty at the start.
    pub training: BTreeMap<String, f32>,
    /// The outputs on the validation rows; empty when there are none.
    pub validation: BTreeMap<String, f32>,
    /// The one of them that counts; lower is better.
    pub score: Option<f32>,
}

/// What a training tells after every step.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Steps taken.
    pub step: u64,
    /// Steps in all, if nothing stops it early.
    pub steps: u64,
    /// This step's outputs by name: the loss and its terms.
    pub losses: &'a [(String, f32)],
    /// What the last check found on the validation rows; lower is better.
    pub validation: Option<f32>,
}

impl Report {
    /// One sentence: how long, which weights were kept, why it ended.
    pub fn sentence(&self) -> String {
        let kept = match self.best_step {
            0 => "the starting weights were kept".to_owned(),
            step if step == self.steps => "the last weights were kept".to_owned(),
            step => format!("the weights of step {step} were kept"),
        };
        match &self.stopped {
            Stopped::Finished => format!("{} steps; {kept}", self.steps),
            Stopped::Early(checks) => format!(
                "stopped after {} steps, since {checks} checks brought nothing better; {kept}",
                self.steps
            ),
            Stopped::Diverged(reason) => {
                format!("stopped after {} steps, since {reason}; {kept}", self.steps)
            }
        }
    }
}
