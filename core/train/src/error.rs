//! The one error of this room.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a training did not take place. A loss that diverges is no error: see [`crate::StopReason`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objective is not one.
    #[error("the objective \"{name}\" cannot be trained: {reason}")]
    Objective {
        /// Its graph's name.
        name: String,
        /// Expected, got, what to do.
        reason: String,
    },
    /// The rows do not fit the objective.
    #[error("the {which} rows do not fit the objective: {reason}")]
    Rows {
        /// `training` or `validation`.
        which: &'static str,
        /// Expected, got.
        reason: String,
    },
    /// An option makes no sense.
    #[error("training option `{option}`: expected {expected}, got {got}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What makes sense.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// The checkpoint could not be written.
    #[error("the checkpoint {path} cannot be written: {reason}", path = .path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The observer asked to stop.
    #[error("training was stopped on request after {step} of {steps} steps")]
    Cancelled {
        /// Steps taken.
        step: u64,
        /// Steps asked for.
        steps: u64,
    },
    /// A graph does not derive, join or read.
    #[error(transparent)]
    Graph(#[from] chiasm_graph::Error),
    /// The engine refused or failed.
    #[error(transparent)]
    Runtime(#[from] chiasm_runtime::Error),
}
