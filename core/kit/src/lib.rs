//! What Chiasm's own plugins are written with, for plugins of other authors as well.
//!
//! - [`tail`]: the graph behind an encoder, from the `[ports]` table of its card. For adapters.
//! - [`fit_method`]: a closed form as an aligner.
//! - [`Network`], [`Layers`], [`attention`], [`losses`], [`Examples`]: networks and losses as graphs, and
//!   training examples of any number of modalities. For aligners and fusions that train.
//! - [`comparison`]: a trained aligner starts from a closed form, because its network adds to a fixed matrix and
//!   its last layer is zero at first. It is also compared with closed forms: some rows are held out, the mean
//!   vector, Procrustes, ridge and CCA are fitted on the other rows, and the notes say which method has the
//!   best recall.
//! - [`testing`]: the tests that every aligner passes.
//!
//! Adapters need [`tail`] only, which is there without the feature `learning`.
//!
//! A whole aligner plugin, canonical correlation under a name of its own:
//!
//! ```
//! use chiasm_closed_form::cca::CcaParams;
//! use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};
//!
//! /// Canonical correlation.
//! pub struct Correlate;
//!
//! impl Aligner for Correlate {
//!     const ID: &'static str = "correlate";
//!     const DOC: &'static str = "Canonical correlation.";
//!     type Parameters = CcaParams;
//!
//!     fn fit(items: &TrainingItems<'_>, parameters: CcaParams, services: &Services<'_>) -> Result<Learned> {
//!         chiasm_kit::fit_method(items, parameters, services)
//!     }
//! }
//!
//! chiasm_plugin::export_plugin! { aligners: [Correlate] }
//! # chiasm_kit::testing::check_ports::<Correlate>();
//! ```
//!
//! The smallest aligner that computes its maps itself is in the documentation of `chiasm-plugin`.

#[cfg(feature = "learning")]
mod arrays;
#[cfg(feature = "learning")]
pub mod attention;
#[cfg(feature = "learning")]
mod closed_form;
#[cfg(feature = "learning")]
pub mod comparison;
#[cfg(feature = "learning")]
mod examples;
#[cfg(feature = "learning")]
mod layers;
#[cfg(feature = "learning")]
pub mod losses;
#[cfg(feature = "learning")]
mod network;
#[cfg(feature = "learning")]
mod subset;
pub mod tail;
pub mod testing;

#[cfg(feature = "learning")]
pub use arrays::{apply, inverse_kind, matrix, plugin_error, tensor};
#[cfg(feature = "learning")]
pub use closed_form::{fit_method, modality_count};
#[cfg(feature = "learning")]
pub use examples::{Examples, paired_rows};
#[cfg(feature = "learning")]
pub use layers::{Init, Layers, Weights};
#[cfg(feature = "learning")]
pub use network::{BoundNetwork, Network, Shape};
#[cfg(feature = "learning")]
pub use subset::{Subset, views};
pub use tail::encoder_tail;

/// Training steps where the recipe gives none: `few` for up to a thousand rows, and more with the square root
/// of their number.
#[cfg(feature = "learning")]
pub fn steps(few: u64, rows: usize) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a number of steps"
    )]
    let steps = (few as f64 * (rows as f64 / 1000.0).sqrt().max(1.0)) as u64;
    steps
}
