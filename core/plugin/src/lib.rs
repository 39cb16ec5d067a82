//! What a plugin author imports: three safe traits, tensors, services and [`export_plugin!`].
//!
//! A plugin is an ordinary library crate with `crate-type = ["cdylib", "rlib"]`, one or more types that implement [`Adapter`],
//! [`Aligner`] or [`Fusion`], and this as its last line:
//!
//! ```ignore
//! chiasm_plugin::export_plugin! { aligners: [Shift] }
//! ```
//!
//! No ABI type reaches the author, and no `unsafe`. The macro writes the manifest (from Cargo's environment, so it cannot drift)
//! into an ELF section that a host reads without running code, and wraps every call: a panic, also one on a rayon worker, becomes
//! an [`Error`] with file and line; an opened adapter that panicked takes no more calls; a drop that panics ends there; rayon keeps
//! to the host's thread budget.
//!
//! What a learned thing is: an ONNX graph (see [`graph`]). A plugin never evaluates its own map in the merged model; the runtime does.
//!
//! What it refuses: inputs whose views do not add up, unknown parameters (use [`read_parameters`]), calls after the host asked for rest.

mod error;
mod inputs;
mod items;
mod learned;
mod services;
mod spec;
mod traits;

#[doc(hidden)]
pub mod export;

pub use chiasm_abi::Code;
pub use chiasm_graph as graph;
pub use chiasm_objective as objective;
pub use chiasm_parameters as parameters;
pub use chiasm_parameters::{Choice, NoParameters, Parameter, ParameterError, Parameters, PerModality};
pub use error::{Error, Result};
pub use inputs::Inputs;
pub use items::{ModalityItems, Pairs, TrainingItems};
pub use learned::{Fused, Inverse, InverseKind, Learned};
pub use ndarray;
pub use serde_json::{Value as Json, json};
pub use services::{Lent, Level, Services};
pub use spec::{
    AlignModality, AlignSpec, DimSpec, Draft, EncoderSpec, FusionNeeds, FusionSpec, Item, Modality,
    ModalityCount, ModelInput, PortSpec, Signature, Takes, Task, TaskKind,
};
pub use traits::{Adapter, Aligner, Fusion, read_parameters};
