//! The pipeline's error type, and the exit code of each error.

use crate::base::problem::{Problem, Problems};
use std::path::{Path, PathBuf};

/// The reason why a pipeline operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The user's input is invalid. Nothing was started, or nothing was kept.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// A file operation failed.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// The operation, as a verb: "read", "write".
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A graph could not be built, joined or verified.
    #[error("{context}: {source}")]
    Graph {
        /// Which graph.
        context: String,
        /// The error of the graph library.
        source: chiasm_graph::Error,
    },
    /// ONNX Runtime is missing, or could not run a graph.
    #[error(transparent)]
    Runtime(#[from] chiasm_runtime::Error),
    /// A plugin is missing, was refused, or failed.
    #[error(transparent)]
    Host(#[from] chiasm_host::HostError),
    /// A result did not pass a check, for example the comparison of the merged model with its parts.
    #[error("{0}")]
    Gate(String),
    /// An internal invariant does not hold.
    #[error("{0}; this is a bug in chiasm, please report it")]
    Internal(String),
}

impl Error {
    /// Returns a file error about `path`; `verb` names the operation.
    pub fn io(verb: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { verb, path: path.to_path_buf(), source }
    }

    /// Returns an error about one problem in the user's input.
    pub fn input(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Problem::new(code, message).help(help).into()
    }

    /// Returns a function that adds `context` to a graph error.
    pub fn graph(context: impl Into<String>) -> impl FnOnce(chiasm_graph::Error) -> Self {
        let context = context.into();
        move |source| Self::Graph { context, source }
    }

    /// Returns the exit code: 1 if a check failed, 2 for any other error.
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
