//! The files of a run folder: their names, their content, and the verification of their digests.
//!
//! ```text
//! model.onnx (.data)           the merged model
//! aligner/<m>.onnx             the head of each modality: its map and hubness bank
//! aligner/<m>.inverse.onnx     the inverse of the map, if it has one
//! aligner/learned.json         the parameters that the aligner chose, and its notes on the fit
//! fusion.onnx                  the fusion, if there is one
//! preprocessing/<m>/<e>/       the card of each encoder, and the files that its adapter needs
//! recipe.toml, recipe.lock     a copy of the recipe; its folder and the --set assignments
//! metrics.json, checks.json    the results
//! robustness.json, .svg         the sweeps over corrupted and missing test items, if the recipe has them
//! training.json, timings.json  the curves of the trainings; the duration of each stage
//! README.md                    the model card
//! manifest.json                the inputs and outputs of the fit, with digests; written last
//! ```

use crate::{
    base::{digest::sha256_of, error::Error},
    embed::SkippedItem,
};
use chiasm_host::{EncoderSpec, InverseKind, Task};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The manifest. A folder with this file is a run folder; it is written last.
pub const MANIFEST: &str = "manifest.json";
/// The duration of each stage. The only file that differs between two fits of the same recipe.
pub const TIMINGS: &str = "timings.json";
/// The reports of the trainings, with their curves.
pub const TRAINING: &str = "training.json";
/// The merged model.
pub const MODEL: &str = "model.onnx";
/// The fusion, if there is one.
pub const FUSION: &str = "fusion.onnx";
/// The parameters that the aligner chose, and its notes.
pub const LEARNED: &str = "aligner/learned.json";
/// The results of the checks.
pub const CHECKS: &str = "checks.json";
/// The metrics.
pub const METRICS: &str = "metrics.json";
/// The sweeps over corrupted and missing test items.
pub const ROBUSTNESS: &str = "robustness.json";
/// The same as a plot.
pub const ROBUSTNESS_PLOT: &str = "robustness.svg";
/// The copy of the recipe.
pub const RECIPE: &str = "recipe.toml";
/// The folder of the recipe, and the `--set` assignments.
pub const LOCK: &str = "recipe.lock";
/// The model card.
pub const README: &str = "README.md";
/// The folder with the cards of the encoders and the files that adapters need.
pub const PREPROCESSING: &str = "preprocessing";

/// Returns the file with the map and hubness bank of a modality.
pub fn head(modality: &str) -> String {
    format!("aligner/{modality}.onnx")
}

/// Returns the file with the inverse of a modality's map.
pub fn inverse(modality: &str) -> String {
    format!("aligner/{modality}.inverse.onnx")
}

/// The content of `manifest.json`: the inputs and outputs of a fit.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct RunManifest {
    /// The version of Chiasm.
    pub chiasm: String,
    /// The SHA-256 of everything that the run depends on. Runs with equal keys have equal files.
    pub key: String,
    /// The version of ONNX Runtime.
    pub engine: String,
    /// The execution provider that was used, e.g. `cpu`.
    pub provider: String,
    /// The random seed.
    pub seed: u64,
    /// The modalities: how their raw items are prepared, and their ports in `model.onnx`.
    pub modalities: Vec<ModalityManifest>,
    /// The anchor, if the recipe names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// Pairs of modalities that no training row has together.
    #[serde(default)]
    pub emergent: Vec<[String; 2]>,
    /// The fused output of `model.onnx`, if there is a fusion.
    pub fused: Option<String>,
    /// The task of the fusion, if it has one. The labels name the columns of `logits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The number of rows per split, and the skipped items.
    pub rows: RowCounts,
    /// The SHA-256 of each input, by name.
    pub inputs: BTreeMap<String, String>,
    /// The SHA-256 of the weights of each encoder, which are the same in the encoder and in `model.onnx`.
    pub frozen_weights: BTreeMap<String, String>,
    /// The SHA-256 of each output file, by name.
    pub outputs: BTreeMap<String, String>,
}

/// One modality of a run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct ModalityManifest {
    /// Its name in the recipe.
    pub name: String,
    /// Its output of `model.onnx`.
    pub output: String,
    /// The encoders, in order.
    pub encoders: Vec<EncoderManifest>,
}

/// One encoder of a run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct EncoderManifest {
    /// The name of the card, or the stem of the file of vectors.
    pub name: String,
    /// The folder in the run with the card and the files that the adapter needs.
    pub folder: String,
    /// The id of the adapter.
    pub adapter: String,
    /// Digest of everything that the vectors depend on, except the adapter's code, the engine and the items.
    pub identity: String,
    /// Width of the pooled vectors.
    pub pooled: usize,
    /// Width of the token vectors, if the graph fixes it.
    pub tokens: Option<usize>,
    /// The name of each input of the encoder in `model.onnx`, by its name in the adapter.
    pub inputs: BTreeMap<String, String>,
    /// The specification of the adapter; an empty directory means `folder`.
    pub spec: EncoderSpec,
}

/// The number of rows per split, and the skipped items.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct RowCounts {
    /// Number of training rows.
    pub train: usize,
    /// Number of validation rows.
    pub validation: usize,
    /// Number of test rows.
    pub test: usize,
    /// Items that were skipped because they could not be read (`--skip-bad`).
    pub skipped: Vec<SkippedItem>,
}

/// The content of [`LOCK`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecipeLock {
    /// The folder of the recipe, where its relative paths start.
    pub folder: PathBuf,
    /// The `--set` assignments, in order.
    pub overrides: Vec<String>,
}

/// The content of [`LEARNED`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LearnedFile {
    /// The aligner.
    pub plugin: String,
    /// All parameters, including those that it chose. With them, the aligner fits without a search.
    pub parameters: Value,
    /// The aligner's notes on the fit.
    pub notes: Value,
    /// The kind of each inverse, by modality.
    pub inverses: BTreeMap<String, InverseKind>,
    /// The dimension that the training pairs of each modality span.
    pub spanned: BTreeMap<String, usize>,
    /// The fusion's notes on its fit.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub fusion: Value,
}

/// The part of [`CHECKS`] that is read when a run is up to date.
#[derive(Debug, Clone, Deserialize)]
pub struct FailedChecks {
    /// Every check that failed, as `modality: check`.
    pub failed: Vec<String>,
    /// Every check that could not be made and was not allowed to, as `modality: check`.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// Reads the manifest of a run.
///
/// # Errors
/// If `run` is not a run folder, or its manifest is damaged.
pub fn read_manifest(run: &Path) -> Result<RunManifest, Error> {
    let path = run.join(MANIFEST);
    if !path.is_file() {
        return Err(Error::input(
            "chiasm::run::not_a_run",
            format!("{} is not a run folder: it has no {MANIFEST}", run.display()),
            "`chiasm fit RECIPE -o RUN` creates one",
        ));
    }
    read_json(run, MANIFEST)
}

/// Reads a JSON file of a run.
///
/// # Errors
/// If the file cannot be read, or does not have the expected structure.
pub fn read_json<T: DeserializeOwned>(run: &Path, name: &str) -> Result<T, Error> {
    let path = run.join(name);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    serde_json::from_str(&text).map_err(|e| {
        Error::input("chiasm::run::damaged", format!("{}: {e}", path.display()), "fit the run again")
    })
}

impl RunManifest {
    /// Compares every output file with its recorded digest.
    ///
    /// # Errors
    /// If a file is missing or was changed. The message names the first one.
    pub fn verify(&self, run: &Path) -> Result<(), Error> {
        for (name, expected) in &self.outputs {
            let path = run.join(name);
            let changed = match sha256_of(&path) {
                Ok(digest) if digest == *expected => continue,
                Ok(digest) => format!("was changed: its sha256 was {expected} and is {digest}"),
                Err(e) => format!("cannot be read: {e}"),
            };
            let message = format!("{} {changed}", path.display());
            return Err(Error::input("chiasm::run::damaged", message, "fit the run again"));
        }
        Ok(())
    }
}
