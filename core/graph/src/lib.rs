//! ONNX graphs as values: build, compose, verify, print, save.
//!
//! Everything that Chiasm learns is a [`Graph`]. This crate is the only one that knows the ONNX format; it runs nothing,
//! starts no thread, and touches files only in [`Graph::load`] and [`Graph::save`].

mod builder;
mod compose;
mod dims;
mod dtype;
mod error;
mod extract;
mod file;
mod graph;
mod guard;
mod ops;
mod opset;
mod port;
mod rename;
mod tensor;
mod text;
mod types;
mod verify;
mod walk;
mod weight;
mod wire;

pub use builder::{Attr, Builder, Value};
pub use dtype::DType;
pub use error::{Error, Result};
pub use file::SavedFiles;
pub use graph::Graph;
pub use port::{Dim, Port};
pub use tensor::{Tensor, TensorData};
pub use verify::Report;

/// Version of the `ai.onnx` operators in every graph that Chiasm makes.
pub const OPSET: i64 = 17;

/// Version of the ONNX format in every graph that Chiasm makes.
pub const IR_VERSION: i64 = 8;
