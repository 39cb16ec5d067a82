//! What plugins that train share: a residual network over a linear start, attention over tokens, losses as graphs, and the contest with the closed forms.
//!
//! A learned map here never starts from nothing: it is a closed form's matrix plus a network whose last layer is zero, so that
//! the first loss is the closed form's. And it never stands alone: a part of the training rows is held out, the mean vector,
//! Procrustes, ridge and CCA are fitted on the rest as it is, and the notes say who won ([`contest`]).
//!
//! Networks over tokens are another matter: no closed form starts them. [`Layers`] builds them, [`attention`] is what they look with.

pub mod attention;
pub mod contest;
mod layers;
pub mod losses;
mod network;
mod rows;

pub use layers::{Begin, Layers, Weights};
pub use network::{Network, Placed, Shape};
pub use rows::{apply, inverse_kind, matrix, refuse, tensor};

/// Steps of a training of which the recipe says nothing: `few` for up to a thousand rows, and more with the root of their
/// number.
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
