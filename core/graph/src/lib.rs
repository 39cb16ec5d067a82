//! ONNX graphs as values: build, compose, differentiate, verify, print, save.
//!
//! Everything that Chiasm learns is a [`Graph`]. This crate is the only one that knows the ONNX format; it
//! runs nothing, starts no thread, and touches files only in [`Graph::load`] and [`Graph::save`].
//!
//! ```
//! use chiasm_graph::{Builder, DType, Dim, Tensor};
//!
//! let mut b = Builder::new("map");
//! let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(3)])?;
//! let w = b.constant("w", Tensor::f32(&[3, 2], vec![0.5; 6])?);
//! let y = b.matmul(&x, &w);
//! let z = b.l2_normalise(&y, -1, 1e-12);
//! b.output("z", &z, DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]);
//! let map = b.finish()?;
//!
//! // Two towers, side by side, as one model.
//! let model = map.prefixed("image").merge(&map.prefixed("text"))?;
//! assert_eq!(model.inputs()[0].to_string(), "image/x f32[image/batch,3]");
//! assert_eq!(model.weight_bytes(), map.weight_bytes()); // equal weights are stored once
//! # Ok::<(), chiasm_graph::Error>(())
//! ```

mod attr;
mod builder;
mod calculus;
mod compose;
mod dims;
mod dtype;
mod error;
mod extract;
mod file;
pub mod fuse;
mod graph;
mod guard;
mod operators;
mod ops;
mod opset;
mod port;
mod rename;
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
pub use builder::{Builder, Value};
pub use dtype::DType;
pub use error::{Error, Result};
pub use file::SavedFiles;
pub use graph::Graph;
pub use port::{Dim, Port};
pub use storage::Storage;
pub use tensor::{Tensor, TensorData};
pub use tensor_ref::TensorRef;
pub use verify::GraphReport;

/// Version of the `ai.onnx` operators in every graph that Chiasm makes.
pub const OPSET: i64 = 17;

/// Version of the ONNX format in every graph that Chiasm makes.
pub const IR_VERSION: i64 = 8;
