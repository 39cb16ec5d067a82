//! The one error of this room. Every message says what was expected, what was found and what mends it.

use std::path::PathBuf;

use crate::attempt::{Attempt, list};

/// The command that brings an engine; every "no engine" message ends with it.
pub const MEND: &str = "chiasm engine install";
/// The command that brings an engine which can use an NVIDIA GPU.
pub const MEND_CUDA: &str = "chiasm engine install --cuda";

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between finding the engine and reading a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No usable ONNX Runtime anywhere.
    #[error(
        "ONNX Runtime (1.{} or newer) was not found. Places tried:\n{}\nTo mend it, run: {MEND}",
        ort::MINOR_VERSION,
        list(.attempts)
    )]
    NoEngine {
        /// Every place that was tried, in order.
        attempts: Vec<Attempt>,
    },
    /// A library that the user named, and that cannot serve.
    #[error(
        "{place} names {path}, which cannot serve as ONNX Runtime: {reason}\n\
         Name another library, or drop it and run: {MEND}",
        path = .path.display()
    )]
    BadEngine {
        /// Who named it (the flag or the environment variable).
        place: &'static str,
        /// The path named.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The library was found and is sound, but the system would not load or start it.
    #[error(
        "the ONNX Runtime at {path} ({place}) did not start: {reason}\nTo mend it, run: {MEND}",
        path = .path.display()
    )]
    Start {
        /// Where it was found.
        place: &'static str,
        /// The library.
        path: PathBuf,
        /// What the loader or the engine said.
        reason: String,
    },
    /// A process holds one engine; another was asked for.
    #[error(
        "this process already runs the ONNX Runtime at {running}; it cannot also start {asked}",
        running = .running.display(),
        asked = .asked.display()
    )]
    AlreadyStarted {
        /// The library in use.
        running: PathBuf,
        /// The library asked for.
        asked: PathBuf,
    },
    /// The engine could not be brought.
    #[error("the engine could not be installed: {0}")]
    Install(String),
    /// A file that could not be read or written.
    #[error("cannot {doing} {path}: {source}", path = .path.display())]
    Io {
        /// The verb ("read", "write", ...).
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The device asked for is not there.
    #[error("device \"{asked}\" was asked for and is not available: {reason}\nTo mend it: {mend}")]
    Device {
        /// The device asked for.
        asked: &'static str,
        /// What is missing.
        reason: String,
        /// The command or step that mends it.
        mend: String,
    },
    /// The engine refused the model.
    #[error("ONNX Runtime cannot load {model}: {reason}")]
    Model {
        /// The model's file or name.
        model: String,
        /// What the engine said.
        reason: String,
    },
    /// A tensor that does not fit the model's port.
    #[error("input \"{port}\" of {model}: expected {expected}, got {got}")]
    Input {
        /// The model's file or name.
        model: String,
        /// The port.
        port: String,
        /// The port's declared type.
        expected: String,
        /// What was given.
        got: String,
    },
    /// An output name that the model does not have.
    #[error("{model} has no output \"{port}\"; it has {known}")]
    Output {
        /// The model's file or name.
        model: String,
        /// The name asked for.
        port: String,
        /// The names it has.
        known: String,
    },
    /// The engine failed during a run.
    #[error("running {model} failed: {reason}")]
    Run {
        /// The model's file or name.
        model: String,
        /// What the engine said.
        reason: String,
    },
    /// An item that could not be prepared, and was not to be skipped.
    #[error("item {index} cannot be embedded: {reason}")]
    Item {
        /// The item's position.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The receiver of the results asked to stop.
    #[error("stopped on request after {done} of {total} items")]
    Cancelled {
        /// Items delivered.
        done: usize,
        /// Items asked for.
        total: usize,
    },
    /// The receiver of the results failed.
    #[error("the embeddings could not be stored: {0}")]
    Sink(String),
    /// A graph that could not be read or written.
    #[error(transparent)]
    Graph(#[from] chiasm_graph::Error),
}

impl Error {
    /// An [`Error::Io`] with its verb and path.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
