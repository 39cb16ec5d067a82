//! What can keep a map from being checked.

/// Why a map could not be checked at all; a check that does not apply is [`crate::SkippedCheck`] instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph is no map from rows to rows.
    #[error(
        "{graph:?} is no map of rows: expected one f32 input [n, d] and one f32 output [n, o], n free; \
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
        /// What was needed.
        expected: String,
        /// What there was.
        got: String,
    },
    /// A graph could not be differentiated or joined.
    #[error(transparent)]
    Graph(#[from] chiasm_graph::Error),
    /// The engine is missing or refused.
    #[error(transparent)]
    Runtime(#[from] chiasm_runtime::Error),
    /// A measure refused its input.
    #[error(transparent)]
    Geometry(#[from] chiasm_geometry::Error),
    /// The threads to compute with could not be had.
    #[error("cannot start threads to compute with: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
