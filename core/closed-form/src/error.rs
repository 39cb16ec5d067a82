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
    #[error("parameter `{name}`: expected {expected}, got {got}")]
    Parameter {
        /// Its key.
        name: &'static str,
        /// The range in words.
        expected: &'static str,
        /// The value that was given.
        got: String,
    },
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

/// Fails unless `good`; names the parameter, the range and the value.
pub(crate) fn check<T: std::fmt::Debug>(
    name: &'static str,
    value: &Option<T>,
    expected: &'static str,
    good: impl Fn(&T) -> bool,
) -> Result<()> {
    match value {
        Some(value) if !good(value) => Err(Error::Parameter { name, expected, got: format!("{value:?}") }),
        _ => Ok(()),
    }
}
