//! Where a training is, in a file: written to a temporary name and renamed, so that a kill leaves the last whole one.
//!
//! The file is an ONNX file without nodes: the tensors are its weights, the rest is a note in it. Its name is a hash of all that
//! the training depends on, so a checkpoint of anything else is never met. One that does not read counts as absent.

use std::path::{Path, PathBuf};

use chiasm_graph::{Builder, Graph, Tensor};
use chiasm_objective::{CurvePoint, Objective, StopReason, TrainingOptions, TrainingRows};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Named tensors.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// How far a training is, beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainingState {
    pub step: u64,
    /// The loss of the first step, which an explosion is measured by.
    pub first_loss: Option<f32>,
    pub best_step: u64,
    pub best_score: Option<f32>,
    /// Checks since the best one.
    pub waited: u64,
    pub curve: Vec<CurvePoint>,
    /// Set when the training is over.
    pub stopped: Option<StopReason>,
}

/// What a checkpoint holds.
pub(crate) struct SavedTraining {
    pub ledger: TrainingState,
    /// The stepper's state; empty when the training is over.
    pub state: Tensors,
    /// The weights to return if nothing better comes; the weights returned when the training is over.
    pub kept: Tensors,
}

/// The file of one training.
pub(crate) struct Checkpoint(PathBuf);

const LEDGER: &str = "ledger";
const STATE: &str = "state/";
const KEPT: &str = "kept/";

impl Checkpoint {
    /// The checkpoint in a folder for a training of this content.
    pub fn new(folder: &Path, key: &str) -> Self {
        Self(folder.join(format!("{key}.onnx")))
    }

    /// What was saved, if it is there and whole.
    pub fn load(&self) -> Option<SavedTraining> {
        let graph = Graph::load(&self.0).ok()?;
        let ledger = serde_json::from_str(graph.metadata().get(LEDGER)?).ok()?;
        let tensors = |prefix: &str| -> Option<Tensors> {
            let names: Vec<&str> = graph.weight_names().filter(|name| name.starts_with(prefix)).collect();
            names
                .iter()
                .map(|name| Some((name[prefix.len()..].to_owned(), graph.weight(name).ok()?)))
                .collect()
        };
        Some(SavedTraining { ledger, state: tensors(STATE)?, kept: tensors(KEPT)? })
    }

    /// Saves; what was there before is replaced in one step.
    pub fn save(&self, ledger: &TrainingState, state: &Tensors, kept: &Tensors) -> Result<()> {
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
        let note = serde_json::to_string(ledger).map_err(|e| failed(&e))?;
        let graph = b.finish()?.with_metadata(LEDGER, note);
        if let Some(folder) = self.0.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        }
        graph.save(&self.0).map_err(|e| failed(&e))?;
        Ok(())
    }
}

/// A hash of all that the bytes of a training depend on: the starting weights, what a step computes from them, where.
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
