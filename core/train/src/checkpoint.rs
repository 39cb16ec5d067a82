//! Saves and loads checkpoints.
//!
//! A checkpoint is an ONNX file without nodes: the tensors are its initializers, the rest is in its metadata.
//! It is written to a temporary name and renamed, so a kill leaves the previous one intact. Its name is a
//! hash of everything that the training depends on, so no other training loads it. An unreadable checkpoint
//! is ignored.

use std::path::{Path, PathBuf};

use chiasm_graph::{Builder, Graph, Tensor};
use chiasm_objective::{CurvePoint, Objective, StopReason, TrainingOptions, TrainingRows};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Named tensors.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// The progress of a training, without its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedProgress {
    pub step: u64,
    /// The loss of the first step; the reference for an exploding loss.
    pub first_loss: Option<f32>,
    pub best_step: u64,
    pub best_score: Option<f32>,
    /// The number of checks since the best one.
    pub waited: u64,
    pub curve: Vec<CurvePoint>,
    /// Set when the training has ended.
    pub stopped: Option<StopReason>,
}

/// The content of a checkpoint.
pub(crate) struct SavedTraining {
    pub progress: SavedProgress,
    /// The stepper's state; empty when the training has ended.
    pub state: Tensors,
    /// The best weights so far.
    pub kept: Tensors,
}

/// The checkpoint file of one training.
pub(crate) struct Checkpoint(PathBuf);

const PROGRESS: &str = "progress";
const STATE: &str = "state/";
const KEPT: &str = "kept/";

impl Checkpoint {
    /// Returns the checkpoint of the training with this key, in a folder.
    pub fn new(folder: &Path, key: &str) -> Self {
        Self(folder.join(format!("{key}.onnx")))
    }

    /// Returns what was saved; `None` when the file is missing or unreadable.
    pub fn load(&self) -> Option<SavedTraining> {
        let graph = Graph::load(&self.0).ok()?;
        let progress = serde_json::from_str(graph.metadata().get(PROGRESS)?).ok()?;
        let tensors = |prefix: &str| -> Option<Tensors> {
            let names: Vec<&str> = graph.weight_names().filter(|name| name.starts_with(prefix)).collect();
            names
                .iter()
                .map(|name| Some((name[prefix.len()..].to_owned(), graph.weight(name).ok()?)))
                .collect()
        };
        Some(SavedTraining { progress, state: tensors(STATE)?, kept: tensors(KEPT)? })
    }

    /// Saves, replacing the previous checkpoint atomically.
    pub fn save(&self, progress: &SavedProgress, state: &Tensors, kept: &Tensors) -> Result<()> {
        let failed = |reason: &dyn std::fmt::Display| Error::Checkpoint {
            path: self.0.clone(),
            reason: reason.to_string(),
        };
        let mut b = Builder::new("checkpoint");
        for (prefix, tensors) in [(STATE, state), (KEPT, kept)] {
            for (name, tensor) in tensors {
                b.constant(&format!("{prefix}{name}"), tensor.clone());
            }
        }
        let text = serde_json::to_string(progress).map_err(|e| failed(&e))?;
        let graph = b.finish()?.with_metadata(PROGRESS, text);
        if let Some(folder) = self.0.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        }
        graph.save(&self.0).map_err(|e| failed(&e))?;
        Ok(())
    }
}

/// Returns a hash of everything that the result of a training depends on: the starting weights, the step, the
/// rows, the options, and the engine (`place`).
pub(crate) fn key(
    objective: &Objective,
    step: &Graph,
    rows: &TrainingRows<'_>,
    options: &TrainingOptions,
    place: &str,
) -> Result<String> {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    let plain = serde_json::to_vec(&(&objective.random, options, place, env!("CARGO_PKG_VERSION")));
    let name = || objective.graph.name().to_owned();
    add(&plain.map_err(|e| Error::Objective { name: name(), reason: e.to_string() })?);
    add(&objective.graph.to_bytes()?);
    add(&step.to_bytes()?);
    for (part, tensors) in [("training", rows.training), ("validation", rows.validation)] {
        for (name, view) in tensors {
            add(format!("{part} {name} {}{:?}", view.dtype(), view.shape()).as_bytes());
            add(view.bytes());
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
