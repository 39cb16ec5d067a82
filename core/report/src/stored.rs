//! What a fit wrote into the run folder, as typed data.

use chiasm_pipeline::{Error, Metrics, Robustness, Run, stored_robustness};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The stored results of a run. What a run lacks is `None`.
pub struct StoredResults {
    pub metrics: Option<Metrics>,
    pub checks: Option<StoredChecks>,
    pub robustness: Option<Robustness>,
    pub trainings: Option<Vec<StoredTraining>>,
    /// The name and the seconds of each stage.
    pub timings: Option<Vec<(String, f64)>>,
    pub recipe: Option<String>,
    /// The `--set` assignments.
    pub overrides: Vec<String>,
}

/// The part of `checks.json` that a report shows.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct StoredChecks {
    #[serde(default)]
    pub maps: Vec<StoredMap>,
    #[serde(default)]
    pub merged: Option<StoredMerge>,
}

/// The comparison of the merged model with its parts.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredMerge {
    pub rows: usize,
    /// The largest difference of each output.
    pub staged_against_merged: BTreeMap<String, f64>,
}

/// The checks of one map.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredMap {
    pub map: String,
    pub input: usize,
    pub output: usize,
    pub jacobian: Option<StoredSpectra>,
    pub checks: Vec<StoredCheck>,
    #[serde(default)]
    pub skipped: Vec<StoredSkip>,
}

/// The singular values of the Jacobians of a map.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredSpectra {
    pub exact: bool,
    pub attainable_rank: usize,
    pub rank_tolerance: f64,
    /// For each point, in descending order.
    pub singular_values: Vec<Vec<f64>>,
    pub rank: Vec<usize>,
    pub condition_number: Vec<Option<f64>>,
}

/// One check.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredCheck {
    pub name: String,
    /// `pass`, `warn`, `unknown` or `fail`.
    pub verdict: String,
    pub number: Option<f64>,
    pub meaning: String,
}

/// A check that does not apply.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredSkip {
    pub name: String,
    pub reason: String,
}

/// One training.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredTraining {
    pub task: String,
    pub steps: u64,
    pub best_step: u64,
    pub stopped: serde_json::Value,
    pub curve: Vec<StoredPoint>,
}

/// One point of a training curve.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredPoint {
    pub step: u64,
    #[serde(default)]
    pub training: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    pub validation: BTreeMap<String, Option<f64>>,
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    overrides: Vec<String>,
}

impl StoredResults {
    /// Reads the stored results of a run.
    ///
    /// # Errors
    /// If a file cannot be read or does not have the expected structure.
    pub fn read(run: &Run<'_>) -> Result<Self, Error> {
        let lock: Option<Lock> = json(run, "recipe.lock")?;
        Ok(Self {
            metrics: json(run, "metrics.json")?,
            checks: json(run, "checks.json")?,
            robustness: stored_robustness(run.folder())?,
            trainings: json(run, "training.json")?,
            timings: json(run, "timings.json")?,
            recipe: run.stored_text("recipe.toml")?,
            overrides: lock.map(|lock| lock.overrides).unwrap_or_default(),
        })
    }
}

fn json<T: DeserializeOwned>(run: &Run<'_>, name: &str) -> Result<Option<T>, Error> {
    let Some(text) = run.stored_text(name)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|e| {
        let path = run.folder().join(name);
        Error::input("chiasm::run::damaged", format!("{}: {e}", path.display()), "fit the run again")
    })
}
