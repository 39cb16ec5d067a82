//! Building blocks of plugins: Chiasm's own plugins use them, and others can.
//!
//! - [`tail`]: the graph behind an encoder, from the `[ports]` table of its card. For adapters.
//! - [`draft`]: drafts of cards, with the origin of every key. For adapters.
//! - [`corruption`]: corruption of raw items by seed, for tests of robustness. For adapters.
//! - [`fit_method`]: a closed form as an aligner.
//! - [`Network`], [`LayerBuilder`], [`attention`], [`TrainingExamples`]: networks as graphs, and training
//!   examples of any number of modalities. For aligners and fusions that train. A [`Network`] starts as a
//!   closed form, because its residual is zero at first.
//! - [`terms`]: the terms of training objectives.
//! - [`heads`]: trained maps into a shared space, which an aligner makes its own by the weights of terms.
//! - [`translators`]: trained maps onto a reference modality and back.
//! - [`comparison`]: compares a trained aligner with closed forms. Some rows are held out; the mean vector,
//!   Procrustes, ridge and CCA are fitted on the other rows, and the notes say which method has the best
//!   recall on the held-out rows.
//! - [`testing`]: the tests that every aligner passes.
//!
//! Adapters need [`tail`], [`draft`] and [`corruption`] only, which do not need the feature `learning`.
//!
//! A complete aligner plugin, canonical correlation under another name:
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
mod batch_mask;
#[cfg(feature = "learning")]
mod closed_form;
#[cfg(feature = "learning")]
pub mod comparison;
#[cfg(feature = "corruption")]
pub mod corruption;
pub mod draft;
#[cfg(feature = "learning")]
mod examples;
#[cfg(feature = "learning")]
pub mod heads;
#[cfg(feature = "learning")]
mod layers;
#[cfg(feature = "learning")]
mod network;
#[cfg(feature = "learning")]
mod subset;
pub mod tail;
#[cfg(feature = "learning")]
pub mod terms;
pub mod testing;
#[cfg(feature = "learning")]
pub mod translators;

#[cfg(feature = "learning")]
pub use arrays::{apply, inverse_kind, matrix, plugin_error, tensor};
#[cfg(feature = "learning")]
pub use batch_mask::{BatchMask, PairMask};
#[cfg(feature = "learning")]
pub use closed_form::{fit_method, modality_count};
#[cfg(feature = "learning")]
pub use examples::{TrainingExamples, paired_rows};
#[cfg(feature = "learning")]
pub use layers::{LayerBuilder, WeightInit, WeightStore};
#[cfg(feature = "learning")]
pub use network::{BoundNetwork, Network, NetworkShape, NetworkValues};
#[cfg(feature = "learning")]
pub use subset::{ItemSubset, views};
pub use tail::{POOLINGS, PORT_KEYS, encoder_tail, windowed_tail};

/// The lower bound of the length by which a graph divides a vector, so that zeros stay zero.
pub(crate) const LEAST_LENGTH: f32 = 1e-12;

/// Returns the default number of training steps: `few` for up to a thousand rows, and in proportion to the
/// square root of the number of rows above that.
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
