//! What plugins that train share: a residual network over a linear start, losses as graphs, and the contest with the closed forms.
//!
//! A learned map here never starts from nothing: it is a closed form's matrix plus a network whose last layer is zero, so that
//! the first loss is the closed form's. And it never stands alone: a part of the training rows is held out, the mean vector,
//! Procrustes, ridge and CCA are fitted on the rest as it is, and the notes say who won ([`contest`]).

pub mod contest;
pub mod losses;
mod network;
mod rows;

pub use network::{Network, Placed, Shape};
pub use rows::{apply, inverse_kind, matrix, refuse, tensor};
