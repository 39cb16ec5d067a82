//! The errors of a fit.

/// An error of a fit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The training rows cannot be fitted.
    #[error("{what}: expected {expected}, got {got}")]
    Data {
        /// Which array or quantity.
        what: String,
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A parameter is out of range.
    #[error(transparent)]
    Parameter(#[from] chiasm_parameters::ParameterError),
    /// The caller asked to stop.
    #[error("stopped as asked")]
    Cancelled,
    /// A numerical routine failed.
    #[error(transparent)]
    Geometry(#[from] chiasm_geometry::Error),
    /// Optimal transport found no plan.
    #[error(transparent)]
    Transport(#[from] chiasm_transport::Error),
    /// A graph could not be built.
    #[error(transparent)]
    Graph(#[from] chiasm_graph::Error),
    /// linfa refused the data set.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

/// Result of a fit.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn data(what: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Data { what: what.into(), expected: expected.into(), got: got.into() }
    }
}
