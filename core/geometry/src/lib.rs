//! Measures of two point clouds, and of the retrieval between them.
//!
//! | task | modules |
//! |---|---|
//! | every measure of two clouds in one call, with permutation nulls | [`mod@measure`], [`catalogue`] |
//! | similarity of paired rows | [`cka`], [`canonical`], [`information`], [`foscttm`] |
//! | common neighbours of paired rows | [`neighbour_overlap`], [`mod@trustworthiness`] |
//! | distances of two samples | [`discrepancy`], [`wasserstein`], [`coverage`] |
//! | local and global structure | [`graphs`], [`local_covariance`], [`persistence`], [`dimension`] |
//! | clusters | [`clusters`] |
//! | retrieval, its intervals and nulls, hubness | [`retrieval`], [`hubness`] |
//! | how well vectors determine known factors | [`identifiability`] |
//! | scores of classification and regression | [`scores`] |
//! | tools | [`neighbours`], [`folds`], [`linalg`], [`spectrum`], [`random`] |
//!
//! The crate reads no files and keeps no global state. Everything is deterministic for a given seed. A cloud
//! is an `ndarray` array `[n, d]` with one point per row, in `f32` or `f64` ([`Real`]).
//!
//! [`linalg`], [`spectrum`] and [`retrieval::Ranks`] run on one thread, so that callers can run many tasks in
//! parallel. [`retrieval::Retrieval`] uses all threads, and its results do not depend on their number. The
//! measures of clouds use all threads, and their results are reproducible for the same number of threads.
//!
//! Every measure of two clouds:
//!
//! ```
//! use chiasm_geometry::measure::{MeasureOptions, measure};
//! let x = ndarray::Array2::from_shape_fn((50, 3), |(i, j)| ((i * (2 * j + 3)) % 17) as f64);
//! let y = x.mapv(|v| v + 1.0);
//! let options = MeasureOptions::new().only(["cka_linear", "w2_exact"]).null(19);
//! let report = measure(x.view(), y.view(), &options, &|_, _, _| {})?;
//! assert!((report.measures["cka_linear"].value - 1.0).abs() < 1e-9);
//! assert!((report.measures["w2_exact"].value - 3.0_f64.sqrt()).abs() < 1e-6);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```
//!
//! Retrieval between two sets of vectors:
//!
//! ```
//! use chiasm_geometry::retrieval::{Retrieval, RetrievalItems};
//! let queries = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0]];
//! let gallery = ndarray::array![[0.9_f32, 0.1], [0.2, 0.8], [0.1, 0.9]];
//! let retrieval = Retrieval::new(
//!     RetrievalItems { vectors: queries.view(), groups: &[0, 1] },
//!     RetrievalItems { vectors: gallery.view(), groups: &[0, 1, 1] },
//!     None,
//! )?;
//! assert_eq!(retrieval.outcomes().scores().recall_at_1, 1.0);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

pub mod canonical;
pub mod catalogue;
pub mod cka;
mod cloud;
mod cloud_notes;
mod cloud_pair;
pub mod clusters;
pub mod coverage;
mod descriptions;
pub mod dimension;
pub mod discrepancy;
pub mod folds;
pub mod foscttm;
pub mod graphs;
mod harmonic;
pub mod hubness;
pub mod identifiability;
pub mod information;
mod kernels;
pub mod linalg;
pub mod local_covariance;
pub mod measure;
mod moments;
pub mod neighbour_overlap;
pub mod neighbours;
mod pairwise;
pub mod persistence;
mod products;
pub mod random;
mod real;
pub mod retrieval;
pub mod rounded;
pub mod scores;
pub mod spectrum;
mod tridiagonal;
pub mod trustworthiness;
pub mod wasserstein;

pub use pairwise::squared_distances;
pub use real::Real;

/// Errors of the measures.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sizes of two arrays do not match.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The size that does not match.
        what: &'static str,
        /// The size that was expected.
        expected: usize,
        /// The size that was given.
        got: usize,
    },
    /// A setting or an input is out of range.
    #[error("{what}: expected {expected}, got {got}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// The valid range.
        expected: String,
        /// The value that was given.
        got: String,
    },
    /// An array holds NaN or infinity.
    #[error("{what}: row {row} holds a value that is not finite; drop the row or embed it again")]
    NotFinite {
        /// The array.
        what: &'static str,
        /// The first such row, counted from 0.
        row: usize,
    },
    /// A decomposition did not converge.
    #[error("the {0} did not converge; check the input for huge or degenerate values")]
    NoConvergence(&'static str),
    /// All points are equal, so there is nothing to compare.
    #[error("the {0} has no spread: its rows are all equal, or nearly; check how they were embedded")]
    NoSpread(&'static str),
    /// A zero vector, whose direction is undefined.
    #[error("the {0} holds a zero row, which has no direction; drop it or embed it again")]
    NoDirection(&'static str),
    /// A transport problem could not be solved.
    #[error(transparent)]
    Transport(#[from] chiasm_transport::Error),
}

/// Result of a measure.
pub type Result<T> = std::result::Result<T, Error>;

/// Returns an error unless the two sizes are equal.
pub(crate) fn same(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}
