//! Maps onto a reference modality and back, started from ridge regressions and trained to invert each other.
//!
//! The reference is the anchor where the recipe names one, else the last modality; its items keep their own
//! space, and every other modality is a pair with it. An aligner of this kind is a [`TranslatorMethod`], its
//! name and the default weights of its [terms](crate::terms), and [`TranslatorParameters`]. In principal
//! coordinates u of a modality and v of the reference, whose mean square is one, with w = sqrt(q) unit(v) on
//! the sphere on which items are scored (q coordinates), the maps are
//!
//! ```text
//! T_AB(u) = sqrt(q) unit(network(u)),    T_BA(w) = network(w)
//! ```
//!
//! The terms see them as a shared space of unit vectors: the modality is mapped by unit(network(u)) and
//! decoded by T_BA, and the reference is mapped by unit(v) and decoded by multiplication with sqrt(q).
//!
//! Maps that align badly can still be cycle consistent. So the trained pair is returned only if, on rows held
//! out, it has a lower round-trip error than the ridge pair and its recall is as high.
//!
//! ```
//! use chiasm_kit::terms::TermWeights;
//! use chiasm_kit::translators::{TranslatorMethod, TranslatorParameters, fit_translators};
//! use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};
//!
//! /// Regression both ways.
//! pub struct Translate;
//!
//! impl Aligner for Translate {
//!     const ID: &'static str = "translate";
//!     const DOC: &'static str = "Maps onto a reference and back, trained by regression.";
//!     type Parameters = TranslatorParameters;
//!
//!     fn fit(
//!         items: &TrainingItems<'_>,
//!         parameters: TranslatorParameters,
//!         services: &Services<'_>,
//!     ) -> Result<Learned> {
//!         let weights = TermWeights::default().translation(1.0);
//!         fit_translators(&TranslatorMethod { id: Self::ID, weights }, items, parameters, services)
//!     }
//! }
//!
//! chiasm_plugin::export_plugin! { aligners: [Translate] }
//! ```

mod fit;
mod model;
mod pair;
mod parameters;
mod start;

pub use fit::fit_translators;
pub use parameters::TranslatorParameters;

use crate::terms::TermWeights;

/// What tells one method from another.
#[derive(Debug, Clone, Copy)]
pub struct TranslatorMethod {
    /// The aligner's name, which its notes use.
    pub id: &'static str,
    /// The weights of terms that a recipe does not set.
    pub weights: TermWeights,
}
