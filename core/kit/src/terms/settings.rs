//! Settings that several terms share.

use chiasm_plugin::Parameters;
use serde::{Deserialize, Serialize};

/// Settings that several terms share: parameters of every trained aligner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Parameters)]
#[serde(default)]
pub struct TermSettings {
    /// Entropic regularisation of transport plans, as a share of the mean cost.
    #[parameter(default = 0.05, range = 0.005..=10)]
    pub epsilon: f64,
    /// Number of nearest neighbours in terms on neighbourhoods.
    #[parameter(default = 10, range = 1..=64)]
    pub k: usize,
    /// Examples of a mini-batch that terms over all pairs of items are computed on.
    #[parameter(default = 256, range = 66..=4096)]
    pub structure_rows: usize,
    /// Distance below which the injectivity hinge acts; images have mean length one.
    #[parameter(default = 0.5, range = 0..=2)]
    pub margin: f64,
}
