//! What plugins that train share: a residual network over a linear start, attention over tokens, losses as
//! graphs, training examples of any number of modalities, and the comparison with the closed forms.
//!
//! A trained aligner starts from a closed form: its network adds to a fixed matrix, and its last layer is
//! zero at first, so that the first loss is the closed form's. It is also compared with closed forms: some
//! rows are held out, the mean vector, Procrustes, ridge and CCA are fitted on the other rows, and the notes
//! say which method finds best ([`comparison`]).
//!
//! Networks over tokens have no closed form to start from. [`Layers`] builds them, with the operations of
//! [`attention`].

mod arrays;
pub mod attention;
pub mod comparison;
mod examples;
mod layers;
pub mod losses;
mod network;
mod parameters;
mod subset;

pub use arrays::{apply, inverse_kind, matrix, plugin_error, tensor};
pub use examples::{Examples, paired_rows};
pub use layers::{Init, Layers, Weights};
pub use network::{BoundNetwork, Network, Shape};
pub use parameters::{check_names, value_of, values};
pub use subset::{Subset, views};

/// Training steps where the recipe gives none: `few` for up to a thousand rows, and more with the square root
/// of their number.
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
