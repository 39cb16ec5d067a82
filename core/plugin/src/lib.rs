//! The crate for plugin authors: three safe traits, tensors, services and [`export_plugin!`].
//!
//! A plugin is a library crate with `crate-type = ["cdylib", "rlib"]`, one or more types that implement
//! [`Adapter`], [`Aligner`] or [`Fusion`], and [`export_plugin!`] as its last line. This is a complete
//! aligner:
//!
//! ```
//! use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor};
//! use chiasm_plugin::ndarray::{ArrayView2, Axis};
//! use chiasm_plugin::{Aligner, Learned, Parameters, Result, Services, TrainingItems};
//!
//! #[derive(serde::Serialize, serde::Deserialize, Parameters)]
//! #[serde(default, deny_unknown_fields)]
//! pub struct CentreParameters {
//!     /// The share of the mean that is subtracted.
//!     #[parameter(default = 1.0, range = 0.0..=1.0)]
//!     share: f32,
//! }
//!
//! /// Subtracts the mean of the unit rows of every modality and keeps the first columns, as many as all
//! /// modalities have.
//! pub struct Centre;
//!
//! impl Aligner for Centre {
//!     const ID: &'static str = "centre";
//!     const DOC: &'static str = "Subtracts the mean of every modality.";
//!     type Parameters = CentreParameters;
//!
//!     fn fit(items: &TrainingItems<'_>, set: CentreParameters, _: &Services<'_>) -> Result<Learned> {
//!         let width = items.modalities.iter().map(|one| one.pooled.ncols()).min().unwrap_or(0);
//!         let maps = items.modalities.iter().map(|one| map(one.pooled, set.share, width));
//!         Ok(Learned::new(maps.collect::<Result<_>>()?, set.to_json()))
//!     }
//! }
//!
//! fn map(pooled: ArrayView2<'_, f32>, share: f32, width: usize) -> Result<Graph> {
//!     let lengths = pooled.map_axis(Axis(1), |row| row.dot(&row).sqrt().max(1e-12)).insert_axis(Axis(1));
//!     let mean = (&pooled / &lengths).mean_axis(Axis(0)).unwrap_or_default() * share;
//!     let mut b = Builder::new("centre");
//!     let x = b.input("x", DType::F32, &[Dim::named("batch"), pooled.ncols().into()])?;
//!     let mean = b.constant("mean", Tensor::f32(&[mean.len()], mean.to_vec())?);
//!     let first = b.ints("first", &(0..width as i64).collect::<Vec<_>>());
//!     let unit = b.l2_normalise(&x, -1, 1e-12);
//!     let centred = b.sub(&unit, &mean);
//!     let columns = b.gather(&centred, &first, 1);
//!     let z = b.l2_normalise(&columns, -1, 1e-12);
//!     b.output("z", &z, DType::F32, &[Dim::named("batch"), width.into()]);
//!     Ok(b.finish()?)
//! }
//!
//! chiasm_plugin::export_plugin! { aligners: [Centre] }
//! # let x = ndarray::array![[1.0_f32, 4.0], [3.0, 0.0]];
//! # let rows = ndarray::Array1::from(vec![0_i64, 1]);
//! # let data = chiasm_plugin::Inputs::of(&[("a.pooled", x.view()), ("b.pooled", x.view())]);
//! # let rows = [("a.row", rows.view().into_dyn()), ("b.row", rows.view().into_dyn())];
//! # let modality = |name: &str| chiasm_plugin::AlignModality { name: name.into(), dim: 2, blocks: vec![2] };
//! # let spec = chiasm_plugin::AlignSpec { modalities: vec![modality("a"), modality("b")], anchor: None };
//! # let set = chiasm_plugin::json!({ "share": 0.5 });
//! # let (data, services) = (data.and_integers(&rows), Services::detached(0, 1));
//! # let learned = Centre::fit_json(&spec, &data, &set, &services).unwrap();
//! # assert_eq!(learned.maps[1].outputs()[0].to_string(), "z f32[batch,2]");
//! # learned.maps[0].verify_learned().unwrap();
//! ```
//!
//! The smallest adapter and the smallest fusion are in the documentation of their traits. `chiasm-kit` holds
//! what Chiasm's own plugins share: closed forms, networks, encoder tails, and tests.
//!
//! A plugin uses no ABI types and needs no `unsafe`. The macro writes a manifest into an ELF section, which
//! the host reads without running code, and guards every call. A panic, also on a rayon worker, becomes an
//! [`Error`] with file and line. An opened adapter that panicked accepts no more calls. rayon uses the host's
//! number of threads.
//!
//! Every learned map is an ONNX graph (see [`graph`]), which the runtime evaluates.
//!
//! These calls are refused before the author's code runs: inputs with inconsistent shapes, training items
//! that are not finite, a number of modalities that [`Aligner::takes`] excludes, unknown parameters or
//! parameters out of range, and calls after the plugin has been shut down.

mod card_key;
mod error;
mod inputs;
mod items;
mod learned;
mod npy_header;
mod services;
mod spec;
mod traits;

#[doc(hidden)]
pub mod export;

pub use card_key::{CardKey, CardKeys, fields_of};
pub use chiasm_abi::Code;
pub use chiasm_graph as graph;
pub use chiasm_graph::{budget, budget::Budget, open_file, read_file};
pub use chiasm_objective as objective;
pub use chiasm_parameters as parameters;
pub use chiasm_parameters::{
    CardKeys, Choice, NoParameters, Parameter, ParameterError, Parameters, PerModality,
};
pub use error::{Error, Result};
pub use inputs::Inputs;
pub use items::{ModalityItems, Pairs, TrainingItems};
pub use learned::{Fused, Inverse, InverseKind, Learned};
pub use ndarray;
pub use npy_header::npy_header;
pub use serde_json::{Value as Json, json};
pub use services::{Level, ServiceBackend, Services};
pub use spec::{
    AlignModality, AlignSpec, DimSpec, Draft, EncoderSpec, FusionNeeds, FusionSpec, Item, LEFT_OUT, Modality,
    ModalityCount, ModelInput, PortSpec, Signature, Takes, Task, TaskKind, Undecided,
};
pub use traits::{Adapter, Aligner, Fusion, read_parameters};
