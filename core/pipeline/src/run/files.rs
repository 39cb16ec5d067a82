//! The files of a run folder: their names and their content.
//!
//! ```text
//! model.onnx (.data)           the merged model
//! aligner/<m>.onnx             the head of each modality: its map and hubness bank
//! aligner/<m>.inverse.onnx     the inverse of the map, if it has one
//! aligner/learned.json         the parameters that the aligner chose, and its notes on the fit
//! fusion.onnx                  the fusion, if there is one
//! preprocessing/<m>/<e>/       the card of each encoder, the files that its adapter needs, and those that
//!                              transformers opens, where they can say the same
//! recipe.toml, recipe.lock     a copy of the recipe; its folder and the --set assignments
//! metrics.json, checks.json    the results
//! robustness.json, .svg         the sweeps over corrupted and missing test items, if the recipe has them
//! training.json, timings.json  the curves of the trainings; the duration of each stage
//! README.md, model.svg         the model card, and the drawing of the merged model that it shows
//! eval_results.yaml            the metrics in the form of the Hugging Face hub
//! manifest.json                the inputs and outputs of the fit, with digests; written last
//! ```
//!
//! A run folder may come from someone else. Every name in its manifest is therefore one part of a path or a
//! path beneath the folder, links out of the folder are refused, and nothing is written where the manifest
//! says. `chiasm run` and `chiasm export` read nothing outside the folder but the raw items and the files of
//! vectors that the run was fitted on; the commands that measure read the data that the recipe names.

use crate::{
    base::{
        error::Error,
        problem::did_you_mean,
        relative_path::{RelativePath, check_name},
    },
    embed::SkippedItem,
};
use chiasm_host::{EncoderSpec, InverseKind, Task};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The largest text file of a run, in bytes.
pub const MAX_TEXT: u64 = 1 << 30;

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
/// The drawing of the merged model.
pub const DRAWING: &str = "model.svg";
/// The copy of the recipe.
pub const RECIPE: &str = "recipe.toml";
/// The folder of the recipe, and the `--set` assignments.
pub const LOCK: &str = "recipe.lock";
/// The model card.
pub const README: &str = "README.md";
/// The metrics in the form of the Hugging Face hub.
pub const EVAL_RESULTS: &str = "eval_results.yaml";
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
    /// The SHA-256 of each output file, by its path in the run folder.
    pub outputs: BTreeMap<RelativePath, String>,
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
    /// The folder in the run with the card and the files that the adapter needs; `None` for a file of
    /// vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<RelativePath>,
    /// The id of the adapter.
    pub adapter: String,
    /// The SHA-256 of the plugin's file with the adapter.
    #[serde(default)]
    pub adapter_sha256: String,
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
        let message = match run.is_dir() {
            true => format!("{} is not a run folder: it has no {MANIFEST}", run.display()),
            false => format!("there is no run folder {}", run.display()),
        };
        let help = similar_run(run).unwrap_or_else(|| "`chiasm fit RECIPE -o RUN` creates one".to_owned());
        return Err(Error::input("chiasm::run::not_a_run", message, help));
    }
    let manifest: RunManifest = read_json(run, MANIFEST)?;
    for modality in &manifest.modalities {
        // The name of a file of vectors is no part of a path in the run folder.
        let cards = modality.encoders.iter().filter(|encoder| encoder.spec.directory.as_os_str().is_empty());
        for name in std::iter::once(&modality.name).chain(cards.map(|encoder| &encoder.name)) {
            check_name(name).map_err(|what| {
                let message = format!("{}: {what}", path.display());
                Error::input("chiasm::run::damaged", message, "fit the run again")
            })?;
        }
    }
    Ok(manifest)
}

/// Returns "did you mean `x`?" for the run folder beside `run` whose name is the most similar one.
fn similar_run(run: &Path) -> Option<String> {
    let (name, parent) = (run.file_name()?.to_string_lossy(), run.parent()?);
    let place = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let folders =
        std::fs::read_dir(place).ok()?.flatten().filter(|entry| entry.path().join(MANIFEST).is_file());
    let names: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let others = names.iter().map(String::as_str).filter(|other| *other != name);
    let paths: Vec<String> = others.map(|other| parent.join(other).display().to_string()).collect();
    did_you_mean(&run.display().to_string(), paths.iter().map(String::as_str))
}

/// Returns the path of a file of a run.
///
/// # Errors
/// If the file does not exist, or is outside the run folder.
pub fn path_in(run: &Path, name: &str) -> Result<PathBuf, Error> {
    let whole = run.join(name);
    let beneath = RelativePath::new(name).map_err(std::io::Error::other);
    beneath.and_then(|name| name.beneath(run)).map_err(|e| Error::io("read", &whole, e))
}

/// Reads a file of a run, of at most `most` bytes.
///
/// # Errors
/// As [`path_in`], or if the file cannot be read or is no regular file.
pub fn read_in(run: &Path, name: &str, most: u64) -> Result<Vec<u8>, Error> {
    let path = path_in(run, name)?;
    chiasm_host::read_file(&path, most).map_err(|e| Error::io("read", &path, e))
}

/// Reads a JSON file of a run.
///
/// # Errors
/// If the file cannot be read, or does not have the expected structure.
pub fn read_json<T: DeserializeOwned>(run: &Path, name: &str) -> Result<T, Error> {
    serde_json::from_slice(&read_in(run, name, MAX_TEXT)?).map_err(|e| {
        let message = format!("{}: {e}", run.join(name).display());
        Error::input("chiasm::run::damaged", message, "fit the run again")
    })
}
