//! Settings that several terms share.

/// Settings that several terms share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TermSettings {
    /// Entropic regularisation of transport plans, as a share of the mean cost.
    pub epsilon: f64,
    /// Number of nearest neighbours.
    pub k: usize,
    /// Examples of a mini-batch that terms over all pairs of items compare.
    pub structure_rows: usize,
    /// Distance below which the injectivity hinge acts.
    pub margin: f64,
}

impl Default for TermSettings {
    fn default() -> Self {
        Self { epsilon: 0.05, k: 10, structure_rows: 256, margin: 0.5 }
    }
}
