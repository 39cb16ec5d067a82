//! The error type of this crate.

use std::path::{Path, PathBuf};

/// An error while reading, building, composing, differentiating or writing a graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// The action that failed: "read", "write", ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A file was read, but its content is not a valid model.
    #[error("cannot load `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<Error>,
    },
    /// The bytes are not a protobuf message of a model: truncated, of another format, or malicious.
    #[error("not a readable ONNX model (at byte {offset}): {reason}")]
    Wire {
        /// The position of the first bad byte.
        offset: usize,
        /// What was expected and what was found there.
        reason: String,
    },
    /// A tensor's shape, type and number of bytes do not match.
    #[error("tensor {0}")]
    Tensor(String),
    /// The graph has no port, tensor or weight of this name.
    #[error("the graph has no {kind} `{name}`; it has {known}")]
    Unknown {
        /// "input", "output", "port", "tensor" or "weight".
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that exist, or those that resemble it.
        known: String,
    },
    /// Two ports cannot be joined, or cannot be in one graph.
    #[error("cannot join `{from}` to `{to}`: {reason}")]
    Join {
        /// The first port.
        from: String,
        /// The second port.
        to: String,
        /// Why they do not fit.
        reason: String,
    },
    /// An operator changed its meaning between two opsets, or it is not known whether it did.
    #[error(
        "operator {operator} (node `{node}`) cannot be upgraded from opset {from} to opset {to}: {reason}; \
         export this model with opset {to}, or all other models with opset {from}"
    )]
    Opset {
        /// The operator's type.
        operator: String,
        /// The node's name, or its first output where it has none.
        node: String,
        /// The opset of the graph.
        from: i64,
        /// The requested opset.
        to: i64,
        /// What changed.
        reason: String,
    },
    /// An operator cannot be written in an older opset.
    #[error(
        "operator {operator} (node `{node}`) of opset {from} cannot be written in opset {to}: {reason}; \
         choose a newer opset"
    )]
    OlderOpset {
        /// The operator's type.
        operator: String,
        /// The node's name, or its first output where it has none.
        node: String,
        /// The opset of the graph.
        from: i64,
        /// The requested opset.
        to: i64,
        /// What it uses that the older opset does not have.
        reason: String,
    },
    /// There is no derivative rule for an operator, or not for the way this node uses it.
    #[error("cannot differentiate operator {operator} (node `{node}`): {reason}")]
    NoDerivative {
        /// The operator's type.
        operator: String,
        /// The node's name, or its first output where it has none.
        node: String,
        /// What is missing.
        reason: String,
    },
    /// The graph violates a rule of ONNX or of this crate.
    #[error("the graph is not valid: {0}")]
    Unsound(String),
    /// The input is valid, but this crate does not support it.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The model is too large for one protobuf message (2 GiB).
    #[error(
        "the model has {bytes} bytes and a protobuf message at most {limit}: \
         use `save`, which writes the weights to a `.data` file beside it"
    )]
    TooLarge {
        /// The size of the model in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Adds the name of the file, unless the error has it already.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Io { .. } | Self::File { .. } => self,
            reason => Self::File { path: path.to_owned(), reason: Box::new(reason) },
        }
    }

    pub(crate) fn unknown<'a>(
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::Unknown { kind, name: name.to_owned(), known: listed(known) }
    }
}

/// Formats names as "`a`, `b`, `c`", at most a dozen of them.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match (shown.is_empty(), names.count()) {
        (true, _) => "none".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
