//! Retrieval: how high the relevant items rank by the scores of a query.
//!
//! Scores are dot products. [`Retrieval`] takes any number of queries and gallery items, with several
//! relevant items per query. [`Ranks`] takes two paired sets, where row `i` of one is the only relevant item
//! of row `i` of the other. Scores are computed in blocks, so memory is linear in the number of items.
//!
//! # Ties
//! All scores of a ranking are expectations over a uniformly random order of the items with equal scores
//! (McSherry and Najork 2008, "Computing information retrieval performance measures efficiently in the
//! presence of tied scores"). A constant map therefore scores exactly as a random order.
//!
//! Dot products are computed in double precision from single-precision vectors. An item that is embedded
//! twice in different batches can differ by a few roundings, so scores closer than
//! [`TIE`]` |query| |relevant item|` are equal.
//!
//! ```
//! use chiasm_geometry::retrieval::{Retrieval, RetrievalItems};
//! // Two captions for each of two pictures.
//! let captions = ndarray::array![[1.0_f32, 0.1], [0.9, 0.0], [0.0, 1.0], [0.7, 0.6]];
//! let pictures = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0]];
//! let retrieval = Retrieval::new(
//!     RetrievalItems { vectors: captions.view(), groups: &[0, 0, 1, 1] },
//!     RetrievalItems { vectors: pictures.view(), groups: &[0, 1] },
//!     None,
//! )?;
//! let found = retrieval.outcomes();
//! assert_eq!(found.scores().recall_at_1, 0.75);
//! assert_eq!(found.chance().recall_at_1, 0.5);
//! let (low, high) = found.interval(&[0, 0, 1, 1], |query| query.first.recall(1), 100, 0.95, 1)?;
//! assert!(low <= 0.75 && 0.75 <= high);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

mod bootstrap;
mod grouped;
mod paired;
mod permutation;
mod rank;
mod scorer;
mod scores;

pub use bootstrap::{bootstrap, bootstrap_of_mean, bootstrap_of_rows};
pub use grouped::{Retrieval, RetrievalItems, RetrievalOutcomes, SharedItems};
pub use paired::Ranks;
pub use permutation::PermutationNull;
pub use rank::Rank;
pub use scorer::TIE;
pub use scores::{QueryOutcome, RetrievalScores, recall, reciprocal};
