//! Measures of two point clouds, and of the retrieval between them.
//!
//! Pure numbers: no files, no graphs, no global state. Everything here is deterministic for a given seed.
//! What fits use ([`linalg`], [`spectrum`], [`retrieval::Ranks`]) runs sequentially: callers spread whole
//! tasks. [`retrieval::Retrieval`] uses every thread and gives the same whatever their number. Measures of
//! clouds ([`measure`] has them all) use every thread and repeat for one number of threads. Scores of tasks
//! are in [`scores`].

pub mod canonical;
mod case;
pub mod catalogue;
pub mod cka;
mod cloud;
pub mod clusters;
pub mod coverage;
pub mod crossing;
pub mod dimension;
pub mod discrepancy;
pub mod folds;
pub mod graphs;
pub mod hubness;
pub mod information;
mod kernels;
pub mod linalg;
pub mod local;
pub mod measure;
mod moments;
pub mod neighbours;
mod notes;
pub mod overlap;
pub mod pairing;
mod pairwise;
pub mod persistence;
mod products;
pub mod random;
mod real;
pub mod retrieval;
pub mod scores;
pub mod spectrum;
mod sums;
mod tridiagonal;

pub use real::Real;

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
    /// All points are one, so that there is nothing to compare.
    #[error("the {0} has no spread: its rows are all equal, or nearly; look at how they were embedded")]
    NoSpread(&'static str),
    /// A zero row where directions are compared.
    #[error("the {0} holds a zero row, which has no direction; drop it or embed it again")]
    NoDirection(&'static str),
    /// A transport problem could not be solved.
    #[error(transparent)]
    Transport(#[from] chiasm_transport::Error),
}

/// Result of a measure.
pub type Result<T> = std::result::Result<T, Error>;

/// Fails when two sizes differ.
pub(crate) fn same(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}
