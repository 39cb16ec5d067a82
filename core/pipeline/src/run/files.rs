//! The run folder as one typed place: the names of its files, what they hold, and whether they are as they
//! were written.
//!
//! ```text
//! model.onnx (.data)      everything in one graph
//! aligner/<m>.onnx        the map of each modality with its bank; <m>.inverse.onnx where there is an inverse
//! aligner/learned.json    what the aligner chose, and what it says of the fit
//! fusion.onnx             the fusion, where there is one
//! preprocessing/<m>/<e>/  each encoder's card and the files its adapter needs
//! recipe.toml recipe.lock the recipe verbatim, and what its text leaves open
//! metrics.json checks.json training.json timings.json README.md
//! manifest.json           what went in and what came out, with digests; written last
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

/// The file that makes a folder a run; written last.
pub const MANIFEST: &str = "manifest.json";
/// The one file whose bytes differ between equal runs.
pub const TIMINGS: &str = "timings.json";
/// How the trainings of the run went: their curves.
pub const TRAINING: &str = "training.json";
/// The merged model.
pub const MODEL: &str = "model.onnx";
/// The fusion, where there is one.
pub const FUSION: &str = "fusion.onnx";
/// What the aligner chose and noted.
pub const LEARNED: &str = "aligner/learned.json";
/// The results of the checks.
pub const CHECKS: &str = "checks.json";
/// The metrics.
pub const METRICS: &str = "metrics.json";
/// The recipe, verbatim.
pub const RECIPE: &str = "recipe.toml";
/// What a recipe's text leaves open.
pub const LOCK: &str = "recipe.lock";
/// The model card.
pub const README: &str = "README.md";
/// The folder with cards and what adapters need.
pub const PREPROCESSING: &str = "preprocessing";

/// The file with a modality's map and bank.
pub fn head(modality: &str) -> String {
    format!("aligner/{modality}.onnx")
}

/// The file with a modality's inverse.
pub fn inverse(modality: &str) -> String {
    format!("aligner/{modality}.inverse.onnx")
}

/// The content of `manifest.json`: what a run was made of and what it made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
pub struct RunManifest {
    /// Version of Chiasm that made it.
    pub chiasm: String,
    /// sha256 over everything the run depends on: same key, same bytes.
    pub key: String,
    /// ONNX Runtime's version.
    pub engine: String,
    /// The provider that really ran, e.g. `cpu`.
    pub provider: String,
    /// Seed of everything random.
    pub seed: u64,
    /// The modalities: how their raw items are prepared and which ports they have in `model.onnx`.
    pub modalities: Vec<ModalityManifest>,
    /// The modality that the others are bound to, when the recipe names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// Pairs of modalities that no training row held together.
    #[serde(default)]
    pub emergent: Vec<[String; 2]>,
    /// The fused output of `model.onnx`, when there is a fusion.
    pub fused: Option<String>,
    /// What the fusion answers, when it was trained for a task: the labels name the columns of `logits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Rows used, and items skipped as unreadable.
    pub rows: RowCounts,
    /// What was read: name to sha256.
    pub inputs: BTreeMap<String, String>,
    /// sha256 over each encoder's weights as they went in and as they are in `model.onnx`: equal.
    pub frozen_weights: BTreeMap<String, String>,
    /// What was written: file to sha256.
    pub outputs: BTreeMap<String, String>,
}

/// One modality of a run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct ModalityManifest {
    /// Its name in the recipe.
    pub name: String,
    /// Its embedding in `model.onnx`.
    pub output: String,
    /// The encoders, in order.
    pub encoders: Vec<EncoderManifest>,
}

/// One encoder of a run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct EncoderManifest {
    /// The card's name, or the vectors' file.
    pub name: String,
    /// The folder in the run that holds the card and what its adapter needs.
    pub folder: String,
    /// The adapter that prepares raw items.
    pub adapter: String,
    /// Digest of everything that its vectors depend on, but the adapter's code, the engine and the items.
    pub identity: String,
    /// Width of its pooled vectors.
    pub pooled: usize,
    /// Width of its tokens' vectors, where it states one.
    pub tokens: Option<usize>,
    /// The adapter's input names to the input names of `model.onnx`.
    pub inputs: BTreeMap<String, String>,
    /// What the adapter is opened with; an empty directory means `folder`.
    pub spec: EncoderSpec,
}

/// Rows used, and items skipped.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
pub struct RowCounts {
    /// Rows that maps were fitted on.
    pub train: usize,
    /// Rows that chose between settings.
    pub validation: usize,
    /// Rows that they were measured on.
    pub test: usize,
    /// Items left out because they could not be read (`--skip-bad`).
    pub skipped: Vec<SkippedItem>,
}

/// The content of [`LOCK`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecipeLock {
    /// The folder that relative paths of the recipe start from.
    pub folder: PathBuf,
    /// The `--set` assignments, in order.
    pub overrides: Vec<String>,
}

/// The content of [`LEARNED`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LearnedFile {
    /// The aligner.
    pub plugin: String,
    /// Everything it chose: given back as parameters, it fits again without a search.
    pub parameters: Value,
    /// What it notes of the fit.
    pub notes: Value,
    /// In which sense each inverse is one, by modality.
    pub inverses: BTreeMap<String, InverseKind>,
    /// How many dimensions the training pairs show of each modality.
    pub spanned: BTreeMap<String, usize>,
    /// What the fusion notes of its fit.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub fusion: Value,
}

/// The part of [`CHECKS`] that is read again.
#[derive(Debug, Clone, Deserialize)]
pub struct FailedChecks {
    /// Every check that failed, as `modality: check`.
    pub failed: Vec<String>,
}

/// The manifest of a finished run.
///
/// # Errors
/// When `run` is no run folder, or its manifest was damaged.
pub fn read_manifest(run: &Path) -> Result<RunManifest, Error> {
    let path = run.join(MANIFEST);
    if !path.is_file() {
        return Err(Error::input(
            "chiasm::run::not_a_run",
            format!("{} is not a run folder: it has no {MANIFEST}", run.display()),
            "`chiasm fit RECIPE -o RUN` makes one",
        ));
    }
    read_json(run, MANIFEST)
}

/// A JSON file of a run.
///
/// # Errors
/// When it cannot be read, or holds something else than expected.
pub fn read_json<T: DeserializeOwned>(run: &Path, name: &str) -> Result<T, Error> {
    let path = run.join(name);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    serde_json::from_str(&text).map_err(|e| {
        Error::input("chiasm::run::damaged", format!("{}: {e}", path.display()), "fit the run again")
    })
}

impl RunManifest {
    /// Whether every file that the run wrote is there with the bytes it was written with.
    ///
    /// # Errors
    /// The first file that is missing or was changed.
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
