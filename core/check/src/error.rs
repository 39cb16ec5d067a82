//! The error type of this crate.

/// Why a map could not be checked; a check that does not apply is a [`crate::SkippedCheck`] instead of an
/// error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph is not a map from rows to rows.
    #[error(
        "{graph:?} is not a map of rows: expected one f32 input [n, d] and one f32 output [n, o], n free; \
         got {got}"
    )]
    NotAMap {
        /// The graph's name.
        graph: String,
        /// Its ports.
        got: String,
    },
    /// The points do not fit the map.
    #[error("{what}: expected {expected}, got {got}")]
    Points {
        /// Which rows.
        what: &'static str,
        /// What was expected.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A graph could not be differentiated or joined.
    #[error(transparent)]
    Graph(#[from] chiasm_graph::Error),
    /// The engine is missing or failed.
    #[error(transparent)]
    Runtime(#[from] chiasm_runtime::Error),
    /// A measure received invalid input.
    #[error(transparent)]
    Geometry(#[from] chiasm_geometry::Error),
    /// The worker threads could not be started.
    #[error("cannot start the worker threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
