//! The error type of this crate.

/// Why a map could not be checked; a check that does not apply is a [`crate::SkippedCheck`] instead of an
/// error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph is not a map from rows to rows.
    #[error(
        "{graph:?} is not a map of rows: expected one f32 input [n, d] and one f32 output [n, o], where n is \
         free and d a number; got {got}"
    )]
    NotAMap {
        /// The graph's name.
        graph: String,
        /// Its ports.
        got: String,
    },
    /// The image of a row depends on the other rows of its batch.
    #[error(
        "{graph:?} does not map every row by itself: the image of row {row} changes by {change:.1e} of its \
         largest value when other rows are in the batch. A check and a Jacobian need a map of single rows, \
         so no operator may combine rows (a mean or Softmax over axis 0, for example); replace it by a \
         constant computed on the training rows"
    )]
    RowsInteract {
        /// The graph's name.
        graph: String,
        /// The number of the row among the given ones.
        row: usize,
        /// The largest change of a value, relative to the largest value.
        change: f64,
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
