//! Retrieval: how high the right items stand in the ranking that a query's scores give.
//!
//! Scores are dot products. [`Retrieval`] takes any number of queries and gallery items, and several right
//! items a query; [`Ranks`] takes two paired sets, in which row `i` of one is the one right item of row `i`
//! of the other. Scores are worked out in blocks, so that memory stays linear in the number of items.
//!
//! # Ties
//! Every figure is the expectation over a uniformly random order of the items with equal scores (McSherry and
//! Najork 2008, "Computing information retrieval performance measures efficiently in the presence of tied
//! scores"). A constant map therefore scores what a random order scores, whatever the figure.
//!
//! Scores are summed in double precision, but the vectors come in single precision: an item that is embedded
//! twice, in other batches, comes out a few roundings apart. Scores closer than [`TIE`] `|query| |right
//! item|` therefore count as equal. The length of the right item serves both, for items that are equal up to
//! rounding are equally long.

mod figures;
mod grouped;
mod null;
mod paired;
mod rank;
mod resample;
mod scorer;

pub use figures::{Figures, Outcome, recall, reciprocal};
pub use grouped::{Items, Outcomes, Retrieval};
pub use null::PermutationNull;
pub use paired::Ranks;
pub use rank::Rank;
pub use resample::{bootstrap, bootstrap_of_mean, bootstrap_of_rows};
pub use scorer::TIE;
