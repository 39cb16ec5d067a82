//! The error type of this crate.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a training failed. A diverging loss is not an error: see [`crate::StopReason`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The objective is invalid.
    #[error("the objective \"{name}\" cannot be trained: {reason}")]
    Objective {
        /// Its graph's name.
        name: String,
        /// What was expected, what was given, and what to do.
        reason: String,
    },
    /// The rows do not fit the objective.
    #[error("the {which} rows do not fit the objective: {reason}")]
    Rows {
        /// `training` or `validation`.
        which: &'static str,
        /// What was expected and what was given.
        reason: String,
    },
    /// An option is out of range.
    #[error("training option `{option}`: expected {expected}, got {got}")]
    Option {
        /// Its name.
        option: &'static str,
        /// The values allowed.
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
    /// A graph could not be differentiated, joined or read.
    #[error(transparent)]
    Graph(#[from] chiasm_graph::Error),
    /// The engine failed.
    #[error(transparent)]
    Runtime(#[from] chiasm_runtime::Error),
}
