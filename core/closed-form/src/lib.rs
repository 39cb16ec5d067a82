//! Closed-form maps between two paired point clouds, and their ONNX graphs.
//!
//! Each method is one file with its formula and its source on top: [`procrustes`], [`ridge`], [`cca`], [`kcca`],
//! [`mean_vector`], and [`ot_map`], which alternates a closed form with optimal transport. All are linfa estimators: a
//! `...Params` struct (also what a recipe may say) is checked by [`linfa::ParamGuard`] and fitted with [`linfa::traits::Fit`], or with [`Method::fit_pairs`] when progress, cancelling
//! and a seed matter. What is not given is chosen by cross-validation inside the rows that were given (see [`search`]); what
//! was chosen comes back as parameters, and fitting with those again searches nothing and gives the same bits.
//!
//! A learned map starts from a linear side's [`Front`] and is held against [`rivals`].
//!
//! A fit is two [`Side`]s. A side becomes an ONNX graph and is evaluated nowhere else; normalising and centring are
//! part of that graph, and rows come out with length one, so that the score of a pair is a dot product.

pub mod bank;
mod basis;
pub mod cca;
mod deliver;
mod error;
mod front;
mod inverse;
pub mod kcca;
mod kernel;
pub mod mean_vector;
pub mod ot_map;
mod pairs;
pub mod procrustes;
pub mod ridge;
mod rivals;
pub mod search;
mod side;
mod spectral;
mod transform;
mod unpaired;

pub use deliver::{Delivery, Method};
pub use error::{Error, Result};
pub use front::Front;
pub use inverse::{Inverse, InverseKind};
pub use pairs::{Conduct, Fitted, Pairs};
pub use rivals::{Rival, rivals};
pub use search::Report;
pub use side::Side;
pub use transform::Curve;
