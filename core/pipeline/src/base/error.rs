//! The pipeline's error: what went wrong, and which exit code it deserves.

use crate::base::problem::{Problem, Problems};
use std::path::{Path, PathBuf};

/// Why a verb did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something the user gave is wrong; nothing was started, or nothing was kept.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The file system refused.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A graph could not be made, joined or verified.
    #[error("{context}: {source}")]
    Graph {
        /// What was being made.
        context: String,
        /// Why not.
        source: chiasm_graph::Error,
    },
    /// ONNX Runtime is missing or refused.
    #[error(transparent)]
    Runtime(#[from] chiasm_runtime::Error),
    /// A plugin is missing, refused, or failed.
    #[error(transparent)]
    Host(#[from] chiasm_host::HostError),
    /// A check that protects the user failed: the result would not have been what it says.
    #[error("{0}")]
    Gate(String),
    /// An invariant of ours broke.
    #[error("{0}; this is a bug of chiasm, please report it")]
    Internal(String),
}

impl Error {
    /// A file-system error on `path`.
    pub fn io(verb: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { verb, path: path.to_path_buf(), source }
    }

    /// One thing wrong in what the user gave.
    pub fn input(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Problem::new(code, message).help(help).into()
    }

    /// A graph error while `context` was being made.
    pub fn graph(context: impl Into<String>) -> impl FnOnce(chiasm_graph::Error) -> Self {
        let context = context.into();
        move |source| Self::Graph { context, source }
    }

    /// 1 when a gate failed, 2 when the input or the machine is at fault.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Gate(_) => 1,
            _ => 2,
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problems(problem.into())
    }
}
