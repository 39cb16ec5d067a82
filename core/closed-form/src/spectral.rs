//! The linear algebra shared by canonical correlation in its linear and its kernel form.

use serde::{Deserialize, Serialize};

use crate::per_modality::PerModality;

/// One point of the grid of canonical correlation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Ridge relative to the top variance of the modality.
    pub ridge: PerModality<f64>,
    /// Canonical directions kept.
    pub dimensions: usize,
    /// Power of the correlation that weights each direction.
    pub power: f64,
}
