//! The one error of this crate: every message names the thing, what was expected, what was got, and what to
//! do.

use std::path::{Path, PathBuf};

/// Why a graph could not be read, built, composed or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", ...
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// A file was read, and what it holds was refused.
    #[error("cannot load `{}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        reason: Box<Error>,
    },
    /// The bytes are no protobuf that this crate parses: cut off, foreign, or hostile.
    #[error("not a readable ONNX model (at byte {offset}): {reason}")]
    Wire {
        /// Where in the bytes the trouble was met.
        offset: usize,
        /// What was expected and got there.
        reason: String,
    },
    /// A tensor's shape, type and bytes disagree.
    #[error("tensor {0}")]
    Tensor(String),
    /// A name that the graph does not have.
    #[error("the graph has no {kind} `{name}`; it has {known}")]
    Unknown {
        /// "input", "output", "tensor".
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The names it does have, or those that resemble it.
        known: String,
    },
    /// Two ports that were to be joined do not fit.
    #[error("cannot join `{from}` to `{to}`: {reason}")]
    Join {
        /// The giving port as text.
        from: String,
        /// The taking port as text.
        to: String,
        /// The clash.
        reason: String,
    },
    /// An operator changed its meaning between two opsets, or is not known to have kept it.
    #[error(
        "operator {operator} (node `{node}`) cannot be moved from opset {from} to opset {to}: {reason}; \
         export this model again at opset {to}, or everything else at opset {from}"
    )]
    Opset {
        /// The operator's type.
        operator: String,
        /// The node's name, or its first output where it has none.
        node: String,
        /// The opset it is written in.
        from: i64,
        /// The opset asked for.
        to: i64,
        /// What changed.
        reason: String,
    },
    /// The calculus has no rule for an operator, or not for this use of it.
    #[error("no derivative of operator {operator} (node `{node}`): {reason}")]
    NoDerivative {
        /// The operator's type.
        operator: String,
        /// The node's name, or its first output where it has none.
        node: String,
        /// What is missing.
        reason: String,
    },
    /// The graph breaks a rule of ONNX or of this crate.
    #[error("the graph is not sound: {0}")]
    Unsound(String),
    /// Sound, but of a kind that this crate does not take.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// One protobuf holds less than 2 GiB.
    #[error(
        "the model takes {bytes} bytes and one protobuf holds at most {limit}: \
         use `save`, which puts the weights beside it in a `.data` file"
    )]
    TooLarge {
        /// Bytes needed.
        bytes: u64,
        /// Bytes that fit.
        limit: u64,
    },
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// The same error, with the file's name in front (an `Io` error names its file already).
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

/// "`a`, `b`, `c`", cut after a dozen names, so that a message stays readable.
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
