//! Choosing what was not given.

use serde::Serialize;

/// How a choice was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchReport {
    /// The criterion in words.
    pub criterion: String,
    /// Its value for the best candidate.
    pub score: f64,
    /// Its value for a map that knows nothing.
    pub chance: f64,
    /// Candidates scored.
    pub candidates: usize,
    /// Rows that the search used.
    pub rows: usize,
    /// Inner folds; 1 when validation rows were given.
    pub folds: usize,
}
