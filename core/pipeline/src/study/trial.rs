//! What a tuning reports: its trials, the best setting, and the comparison on the test rows.

use super::space::Setting;
use crate::{compare::significance::PairedDifference, run::query_scores::StudyMetric};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// One trial: a setting and its score on the validation rows. A line of `trials.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trial {
    /// Its number, counted from 0, which is the recipe's own setting.
    pub trial: usize,
    /// The values of the keys; empty for the recipe's own setting. Keys of `[align]` that the chosen aligner
    /// does not have are left out of the fit.
    pub setting: Setting,
    /// The score; `None` if the fit failed.
    pub score: Option<f64>,
    /// The reason of a failed fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The duration of the fits in seconds.
    pub seconds: f64,
}

/// The result of [`crate::tune()`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TuneReport {
    /// The metric.
    pub metric: StudyMetric,
    /// Rows that the trials were scored on, over all folds.
    pub validation_rows: usize,
    /// Every trial, best first.
    pub trials: Vec<Trial>,
    /// The best setting, without keys that its aligner does not have.
    pub best: Setting,
    /// The recipe with the best setting.
    pub best_recipe: PathBuf,
    /// The comparison on the test rows.
    pub test: TestComparison,
}

/// The recipe's own setting and the best one, fitted on all training rows and scored on the test rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TestComparison {
    /// The score of the recipe's own setting.
    pub own: f64,
    /// The score of the best setting.
    pub best: f64,
    /// The difference, and its interval.
    pub difference: Option<PairedDifference>,
    /// The scores of each direction, of the recipe's own setting and of the best one.
    pub directions: BTreeMap<String, [f64; 2]>,
}

/// The state of a tuning after a trial.
#[derive(Debug)]
#[non_exhaustive]
pub struct TuneProgress<'a> {
    /// The trial that has finished.
    pub trial: &'a Trial,
    /// The best trial so far.
    pub best: Option<&'a Trial>,
    /// The number of trials.
    pub trials: usize,
    /// The seconds that the remaining trials will take, if they take as long as those before.
    pub remaining_seconds: f64,
}
