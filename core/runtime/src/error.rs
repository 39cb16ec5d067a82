//! The error type of this crate. Every message says what was expected, what was found and how to fix it.

use std::path::PathBuf;

use crate::searched_place::{SearchedPlace, list};

/// The command that installs an engine; every message about a missing engine ends with it.
pub const INSTALL_COMMAND: &str = "chiasm engine install";
/// The command that installs an engine that can use an NVIDIA GPU.
pub const INSTALL_CUDA_COMMAND: &str = "chiasm engine install --cuda";

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of finding and starting the engine, loading models and running them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No place has a usable ONNX Runtime.
    #[error(
        "ONNX Runtime (1.{} or newer) was not found. Places tried:\n{}\n\
         Python was not asked where its packages are; `chiasm doctor` asks it.\n\
         To install it, run: {INSTALL_COMMAND}",
        ort::MINOR_VERSION,
        list(.attempts)
    )]
    NoEngine {
        /// Every place that was searched, in order.
        attempts: Vec<SearchedPlace>,
    },
    /// The user named an unusable library.
    #[error(
        "{place} names {path}, which is not a usable ONNX Runtime: {reason}\n\
         Name another library, or drop it and run: {INSTALL_COMMAND}",
        path = .path.display()
    )]
    BadEngine {
        /// What named it: the flag or the environment variable.
        place: &'static str,
        /// The path named.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The library was found and is valid, but did not load or start.
    #[error(
        "the ONNX Runtime at {path} ({place}) did not start: {reason}\n\
         To install another one, run: {INSTALL_COMMAND}",
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
    /// Another engine was asked for; a process runs only one.
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
    /// The engine could not be installed.
    #[error("the engine could not be installed: {0}")]
    Install(String),
    /// A file could not be read or written.
    #[error("cannot {doing} {path}: {source}", path = .path.display())]
    Io {
        /// The verb ("read", "write", ...).
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The device asked for is not available.
    #[error("device \"{asked}\" was asked for and is not available: {reason}\nTo fix it: {fix}")]
    Device {
        /// The device asked for.
        asked: &'static str,
        /// What is missing.
        reason: String,
        /// The command or step that fixes it.
        fix: String,
    },
    /// The engine refused the model.
    #[error("ONNX Runtime cannot load {model}: {reason}")]
    Model {
        /// The model's file or name.
        model: String,
        /// What the engine said.
        reason: String,
    },
    /// A tensor does not fit the model's port.
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
    /// The model has no output of this name.
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
    /// An item could not be prepared, and the receiver did not skip it.
    #[error("item {index} cannot be embedded: {reason}")]
    Item {
        /// The item's position.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The receiver asked to stop.
    #[error("stopped on request after {done} of {total} items")]
    Cancelled {
        /// Items delivered.
        done: usize,
        /// Items asked for.
        total: usize,
    },
    /// The receiver failed.
    #[error("the embeddings could not be stored: {0}")]
    Receiver(String),
    /// A graph could not be read or written.
    #[error(transparent)]
    Graph(#[from] chiasm_graph::Error),
}

impl Error {
    /// Returns a constructor of [`Error::Io`] with this verb and path.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
