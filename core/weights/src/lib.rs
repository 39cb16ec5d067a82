//! Merges the weights of models of one architecture into one model, without training.
//!
//! | function | what is merged | source |
//! |---|---|---|
//! | [`average`] | a weighted mean of the weights | Wortsman et al. 2022, arXiv 2203.05482 |
//! | [`slerp`] | two models, along the arc between their weights | Shoemake 1985 |
//! | [`ties`] | trimmed changes of a base model, without conflicts of sign | Yadav et al. 2023, arXiv 2306.01708 |
//! | [`fisher`] | a mean weighted by each weight's Fisher information | Matena and Raffel 2022, arXiv 2111.09832 |
//! | [`aligned`] | first permutes the hidden units of a model to match another | Singh and Jaggi 2020, arXiv 1910.05653 |
//!
//! All models must have the same nodes and weights of the same names and shapes. Weights of 32-bit floats are
//! merged; all others, such as shapes and quantised weights, must be equal. Models that were trained from one
//! start can be averaged as they are; models from different starts have their hidden units in different
//! orders, so [`aligned`] comes first.
//!
//! ```
//! use chiasm_graph::{Builder, DType, Dim, Tensor};
//! use chiasm_weights::average;
//!
//! let model = |weights: [f32; 2]| {
//!     let mut b = Builder::new("scale");
//!     let x = b.input("x", DType::F32, &[Dim::named("batch"), Dim::Fixed(2)])?;
//!     let w = b.constant("w", Tensor::f32(&[2], weights.to_vec())?);
//!     let y = b.mul(&x, &w);
//!     b.output("y", &y, DType::F32, &[Dim::named("batch"), Dim::Fixed(2)]);
//!     b.finish()
//! };
//! let merged = average(&[model([1.0, 2.0])?, model([3.0, 6.0])?], &[0.5, 0.5])?;
//! assert_eq!(merged.weight("w")?.as_f32(), Some([2.0, 4.0].as_slice()));
//! # Ok::<(), chiasm_weights::Error>(())
//! ```

mod align;
mod error;
mod information;
mod methods;
mod models;

pub use align::aligned;
pub use error::{Error, Result};
pub use information::{RunGraph, fisher_information};
pub use methods::{average, fisher, slerp, ties};

/// Values for every element of some weights, by the name of the weight.
pub type WeightValues = std::collections::BTreeMap<String, Vec<f32>>;
