//! Why a fit was refused.

/// What can go wrong in a fit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The training rows cannot be fitted.
    #[error("{what}: expected {expected}, got {got}")]
    Data {
        /// Which array or quantity.
        what: String,
        /// What would do.
        expected: String,
        /// What there was.
        got: String,
    },
    /// A parameter is out of range.
    #[error(transparent)]
    Parameter(#[from] chiasm_parameters::ParameterError),
    /// The caller asked to stop.
    #[error("stopped as asked")]
    Cancelled,
    /// The numbers failed.
    #[error(transparent)]
    Geometry(#[from] chiasm_geometry::Error),
    /// No plan was found.
    #[error(transparent)]
    Transport(#[from] chiasm_transport::Error),
    /// The graph could not be made.
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
