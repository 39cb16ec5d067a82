//! Closed-form maps of two or more modalities into one shared space, and their ONNX graphs.

mod aligner;
pub mod bank;
mod baselines;
mod basis;
pub mod cca;
mod context;
mod error;
mod features;
mod fitted;
mod front;
mod inverse;
mod kernel;
mod map;
mod per_modality;
mod sample;
mod search;
mod spectral;
mod tensors;
mod transform;
mod views;

pub use baselines::{Baseline, baselines};
pub use context::FitContext;
pub use error::{Error, Result};
pub use fitted::{Export, Fitted, Method};
pub use front::Front;
pub use inverse::{Inverse, InverseKind};
pub use map::Map;
pub use per_modality::PerModality;
pub use search::SearchReport;
pub use transform::Curve;
pub use views::{View, Views};
