//! Trained maps into a shared space: one network for each modality, started from canonical correlations.
//!
//! An aligner of this kind is a [`HeadMethod`], its name and the default weights of its
//! [terms](crate::terms), and [`HeadParameters`], which a recipe may change. Each network is a residual one
//! over its modality's principal coordinates and starts as the map of canonical correlations. Networks are
//! trained with noise equivalent to the ridge that cross-validation found for the start (Bishop 1995):
//! without it a network on a few hundred rows overfits within ten steps. Several networks from different
//! seeds are averaged, optionally with the start. If the result is not better than the start on rows held
//! out, the start is returned, and the notes compare both with the closed forms.
//!
//! ```
//! use chiasm_kit::heads::{HeadMethod, HeadParameters, fit_heads};
//! use chiasm_kit::terms::TermWeights;
//! use chiasm_plugin::{Aligner, Learned, Result, Services, TrainingItems};
//!
//! /// InfoNCE and the Sinkhorn divergence.
//! pub struct Contrastive;
//!
//! impl Aligner for Contrastive {
//!     const ID: &'static str = "contrastive";
//!     const DOC: &'static str = "Networks trained with InfoNCE and the Sinkhorn divergence.";
//!     type Parameters = HeadParameters;
//!
//!     fn fit(
//!         items: &TrainingItems<'_>,
//!         parameters: HeadParameters,
//!         services: &Services<'_>,
//!     ) -> Result<Learned> {
//!         let method = HeadMethod {
//!             id: Self::ID,
//!             title: "the contrastive network",
//!             weights: TermWeights::default().infonce(1.0).sinkhorn_divergence(0.1),
//!         };
//!         fit_heads(&method, items, parameters, services)
//!     }
//! }
//!
//! chiasm_plugin::export_plugin! { aligners: [Contrastive] }
//! ```

mod ensemble;
mod fit;
mod model;
mod objective;
mod parameters;
mod training;

pub use fit::fit_heads;
pub use parameters::HeadParameters;

use crate::terms::TermWeights;

/// What tells one trained method from another.
#[derive(Debug, Clone, Copy)]
pub struct HeadMethod {
    /// The aligner's name, which its notes use.
    pub id: &'static str,
    /// What sentences call it, such as "the MLP".
    pub title: &'static str,
    /// The weights of terms that a recipe does not set.
    pub weights: TermWeights,
}
