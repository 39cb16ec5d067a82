//! Saves and loads checkpoints.
//!
//! A checkpoint is an ONNX file without nodes: the tensors are its initializers, the rest is in its metadata.
//! It is written to a temporary name and renamed, so a kill leaves the previous one intact. Its name is a
//! hash of everything that the training depends on, so no other training loads it. It holds a digest of its
//! content. An unreadable or damaged checkpoint is ignored.

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
const DIGEST: &str = "digest";
const STATE: &str = "state/";
const KEPT: &str = "kept/";

impl Checkpoint {
    /// Returns the checkpoint of the training with this key, in a folder.
    pub fn new(folder: &Path, key: &str) -> Self {
        Self(folder.join(format!("{key}.onnx")))
    }

    /// Returns what was saved; `None` when the file is missing, unreadable or damaged.
    pub fn load(&self) -> Option<SavedTraining> {
        let graph = Graph::load(&self.0).ok()?;
        let metadata = graph.metadata();
        let text = metadata.get(PROGRESS)?;
        let tensors = |prefix: &str| -> Option<Tensors> {
            let names: Vec<&str> = graph.weight_names().filter(|name| name.starts_with(prefix)).collect();
            names
                .iter()
                .map(|name| Some((name[prefix.len()..].to_owned(), graph.weight(name).ok()?)))
                .collect()
        };
        let (state, kept) = (tensors(STATE)?, tensors(KEPT)?);
        let whole = *metadata.get(DIGEST)? == self.digest(text, &state, &kept);
        whole.then_some(SavedTraining { progress: serde_json::from_str(text).ok()?, state, kept })
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
        let digest = self.digest(&text, state, kept);
        let graph = b.finish()?.with_metadata(PROGRESS, text).with_metadata(DIGEST, digest);
        if let Some(folder) = self.0.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        }
        graph.save(&self.0).map_err(|e| failed(&e))?;
        Ok(())
    }

    /// Returns the SHA-256 of the content of the checkpoint, and of its name.
    fn digest(&self, progress: &str, state: &Tensors, kept: &Tensors) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(self.0.file_name().unwrap_or_default().as_encoded_bytes());
        add(progress.as_bytes());
        for tensors in [state, kept] {
            let mut tensors: Vec<&(String, Tensor)> = tensors.iter().collect();
            tensors.sort_by(|a, b| a.0.cmp(&b.0));
            for (name, tensor) in tensors {
                add(format!("{name} {}{:?}", tensor.dtype(), tensor.shape()).as_bytes());
                add(tensor.bytes());
            }
            add(b"");
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// No flipped bit gives other weights or another progress; the rest of the file is not read.
    #[test]
    fn a_damaged_checkpoint_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::new(folder.path(), "key");
        let progress = SavedProgress {
            step: 3,
            first_loss: Some(0.5),
            best_step: 2,
            best_score: Some(0.25),
            waited: 1,
            curve: Vec::new(),
            stopped: None,
        };
        let tensor = |values: Vec<f32>| Tensor::f32(&[2], values).unwrap();
        let state = vec![("b".to_owned(), tensor(vec![1.0, 2.0])), ("a".to_owned(), tensor(vec![0.0, -1.0]))];
        let kept = vec![("w".to_owned(), tensor(vec![4.0, 0.125]))];
        checkpoint.save(&progress, &state, &kept).unwrap();
        let bytes = std::fs::read(&checkpoint.0).unwrap();
        let sorted = |mut tensors: Tensors| {
            tensors.sort_by(|a, b| a.0.cmp(&b.0));
            tensors
        };
        let mut ignored = 0;
        for bit in 0..=bytes.len() * 8 {
            let mut flipped = bytes.clone();
            // The last round reads the file as it was written.
            flipped.get_mut(bit / 8).into_iter().for_each(|byte| *byte ^= 1 << (bit % 8));
            std::fs::write(&checkpoint.0, flipped).unwrap();
            let Some(saved) = checkpoint.load() else {
                ignored += 1;
                continue;
            };
            assert_eq!(saved.progress, progress, "bit {bit}");
            assert_eq!((sorted(saved.state), &saved.kept), (sorted(state.clone()), &kept), "bit {bit}");
        }
        assert!(checkpoint.load().is_some() && ignored > bytes.len() * 4, "{ignored} of {}", bytes.len() * 8);
        // The checkpoint of another training under this name.
        std::fs::rename(&checkpoint.0, folder.path().join("other.onnx")).unwrap();
        assert!(Checkpoint::new(folder.path(), "other").load().is_none());
    }
}
