//! ONNX graphs as values: build, compose, differentiate, verify, print and save them.
//!
//! A [`Graph`] is an ONNX model in memory. [`Builder`] makes one node by node. Graphs are composed
//! ([`Graph::join`], [`Graph::merge`], [`Graph::extract`]) and differentiated ([`Graph::jvp`],
//! [`Graph::vjp`], [`Graph::gradient`], [`Graph::jacobian`]); the derivative of a graph is again a graph. The
//! crate executes nothing and starts no thread; it accesses files only in [`Graph::load`], [`Graph::save`]
//! and [`Graph::save_split`].
//!
//! # Build, differentiate, save
//!
//! ```
//! use chiasm_graph::{Builder, DType, Dim, Graph, Tensor};
//!
//! // z = x W, and the sum of the squares of z as a loss.
//! let mut b = Builder::new("map");
//! let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(3)])?;
//! let w = b.constant("w", Tensor::f32(&[3, 2], vec![0.5; 6])?);
//! let z = b.matmul(&x, &w);
//! let squares = b.mul(&z, &z);
//! let loss = b.reduce_sum(&squares, &[0, 1], false);
//! b.output("z", &z, DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]);
//! b.output("loss", &loss, DType::F32, &[]);
//! let map = b.finish()?;
//!
//! // The gradient with respect to the weight, which becomes an input.
//! let step = map.lifted(&["w"])?.gradient("loss", &["w"])?;
//! assert_eq!(step.output("gradient/w")?.to_string(), "gradient/w f32[3,2]");
//!
//! // One .onnx file.
//! let folder = std::env::temp_dir().join(format!("chiasm-graph-{}", std::process::id()));
//! std::fs::create_dir_all(&folder).unwrap();
//! let part = map.extract(&["z"])?;
//! let saved = part.save(folder.join("map.onnx"))?;
//! assert_eq!(Graph::load(&saved.model)?, part);
//! # std::fs::remove_dir_all(&folder).unwrap();
//! # Ok::<(), chiasm_graph::Error>(())
//! ```
//!
//! # Compose
//!
//! ```
//! # use chiasm_graph::{Builder, DType, Dim, Tensor};
//! # let mut b = Builder::new("map");
//! # let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(3)])?;
//! # let w = b.constant("w", Tensor::f32(&[3, 2], vec![0.5; 6])?);
//! # let z = b.matmul(&x, &w);
//! # b.output("z", &z, DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]);
//! # let map = b.finish()?;
//! let model = map.prefixed("image").merge(&map.prefixed("text"))?;
//! assert_eq!(model.inputs()[0].to_string(), "image/x f32[image/batch,3]");
//! assert_eq!(model.weight_bytes(), map.weight_bytes()); // equal weights are stored once
//! # Ok::<(), chiasm_graph::Error>(())
//! ```

mod architecture;
mod attr;
mod branches;
pub mod budget;
mod builder;
mod calculus;
mod compose;
mod dims;
mod dtype;
mod error;
mod extent;
mod external;
mod extract;
mod file;
pub mod fuse;
mod graph;
mod guard;
mod hidden_units;
mod last_layer;
mod operators;
mod ops;
mod opset;
mod per_batch;
mod per_item;
mod port;
mod read;
mod regular_file;
mod rename;
mod repeat;
mod shapes;
mod simplify;
mod storage;
mod tensor;
mod tensor_ref;
mod text;
mod types;
mod verify;
mod walk;
mod weight;
mod wire;

pub use attr::Attr;
pub use budget::Budget;
pub use builder::{Builder, Value};
pub use dtype::DType;
pub use error::{Error, Result};
pub use file::SavedFiles;
pub use graph::Graph;
pub use hidden_units::HiddenUnits;
pub use operators::NEWEST as NEWEST_OPSET;
pub use port::{Dim, Port};
pub use regular_file::{open_file, read_file};
pub use storage::Storage;
pub use tensor::{Tensor, TensorData};
pub use tensor_ref::TensorRef;
pub use verify::GraphReport;

/// The version of the `ai.onnx` operator set in every graph that Chiasm makes.
pub const OPSET: i64 = 17;

/// The oldest operator set that [`Graph::in_opset`] writes.
pub const OLDEST_OPSET: i64 = 11;

/// The version of the ONNX format (the IR version) of every graph that Chiasm makes.
pub const IR_VERSION: i64 = 8;
