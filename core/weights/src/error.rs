//! The error type of this crate.

/// What can keep models from being merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The models do not have the same architecture, or weights that cannot be merged differ.
    #[error("model {number} does not have the architecture of the first: {difference}")]
    Architecture {
        /// The number of the model, counted from 1.
        number: usize,
        /// The first difference.
        difference: String,
    },
    /// An argument is out of range.
    #[error("{what}: expected {expected}, got {got}")]
    Argument {
        /// Which argument.
        what: &'static str,
        /// What was expected.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A graph could not be read or written.
    #[error(transparent)]
    Graph(#[from] chiasm_graph::Error),
    /// A graph could not be run.
    #[error("cannot run the model: {0}")]
    Run(String),
    /// The assignment of hidden units failed.
    #[error(transparent)]
    Transport(#[from] chiasm_transport::Error),
}

impl Error {
    pub(crate) fn argument(what: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::Argument { what, expected: expected.into(), got: got.to_string() }
    }
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;
