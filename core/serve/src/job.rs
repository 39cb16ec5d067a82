//! A part of a request that waits to be run, and what it runs.

use crate::api_error::ApiError;
use chiasm_graph::Tensor;
use chiasm_pipeline::RawItem;
use std::time::Instant;
use tempfile::TempPath;
use tokio::sync::oneshot;

/// The outputs of a job, by name.
pub type Outputs = Vec<(String, Tensor)>;

/// What a job runs.
pub enum Work {
    /// Raw items: one column for each of these modalities, and the files that they refer to, if any.
    Items { modalities: Vec<String>, columns: Vec<Vec<RawItem>>, files: Vec<TempPath> },
    /// Tensors for inputs of `model.onnx`, and the outputs wanted: all that depend on no other input if none
    /// is named.
    Tensors { inputs: Vec<(String, Tensor)>, outputs: Vec<String> },
}

impl Work {
    /// Returns the number of items.
    pub fn items(&self) -> usize {
        match self {
            Self::Items { columns, .. } => columns.first().map_or(0, Vec::len),
            Self::Tensors { inputs, .. } => {
                inputs.first().and_then(|(_, tensor)| tensor.shape().first().copied()).unwrap_or(1)
            }
        }
    }

    /// Returns whether both can be run together.
    pub fn joins(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Items { modalities: own, .. }, Self::Items { modalities: others, .. }) => own == others,
            _ => false,
        }
    }
}

/// A part of a request that waits in the queue.
pub struct Job {
    pub work: Work,
    /// Receives the outputs. A closed one belongs to a client that has gone.
    pub reply: oneshot::Sender<Result<Outputs, ApiError>>,
    pub queued: Instant,
}
