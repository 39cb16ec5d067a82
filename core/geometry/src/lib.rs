//! Measures of two point clouds, and of the retrieval between them.
//!
//! Pure numbers: no files, no graphs, no global state. Everything here is deterministic for a given seed,
//! whatever the number of threads: the linear algebra runs sequentially and callers spread whole tasks.

pub mod coverage;
pub mod folds;
pub mod hubness;
pub mod information;
pub mod linalg;
pub mod random;
pub mod retrieval;
pub mod spectrum;
mod tridiagonal;

/// What can go wrong in a measure.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two arrays that must agree in a size do not.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// Which quantity disagrees.
        what: &'static str,
        /// The size that was expected.
        expected: usize,
        /// The size that was found.
        got: usize,
    },
    /// A setting lies outside its range.
    #[error("{what}: expected {expected}, got {got}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// The range in words.
        expected: String,
        /// The value that was given.
        got: String,
    },
    /// An array holds NaN or infinity.
    #[error("{what}: row {row} holds a value that is not finite; drop the row or embed it again")]
    NotFinite {
        /// Which array.
        what: &'static str,
        /// The first such row, counted from 0.
        row: usize,
    },
    /// A decomposition did not converge.
    #[error("the {0} did not converge; look for huge or degenerate values in the input")]
    NoConvergence(&'static str),
}

/// Result of a measure.
pub type Result<T> = std::result::Result<T, Error>;

/// Fails when two sizes differ.
pub(crate) fn same(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}
