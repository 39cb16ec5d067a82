//! Closed-form maps of two or more modalities into one shared space, and their ONNX graphs.
//!
//! Each method is one file with its formula and its source on top: [`procrustes`], [`ridge`], [`cca`],
//! [`kcca`], [`tensor_cca`], [`mean_vector`], and [`ot_map`], which alternates a closed form with optimal
//! transport. A fit reads [`Views`]: the items of every modality and the row that each belongs to. A row may
//! hold no item of a modality, or several; it counts once in either case. A fit returns one [`Map`] for each
//! modality. A map becomes an ONNX graph, which includes normalising and centring. Its output rows have
//! length one, so the score of two items is a dot product.
//!
//! ```
//! use chiasm_closed_form::{FitContext, Method, View, Views, cca::CcaParams};
//! use ndarray::Array2;
//!
//! // Twenty rows: all have an image, the first fifteen a text, the last fifteen a sound.
//! let items = |rows: std::ops::Range<usize>, d: usize| {
//!     Array2::from_shape_fn((rows.len(), d), |(i, j)| (((rows.start + i) * (2 * j + 3)) as f32).sin())
//! };
//! let (image, text, sound) = (items(0..20, 6), items(0..15, 4), items(5..20, 5));
//! fn view<'a>(name: &str, items: &'a Array2<f32>, rows: std::ops::Range<usize>) -> View<'a> {
//!     View { name: name.into(), blocks: vec![items.ncols()], items: items.view(), rows: rows.collect() }
//! }
//! let views = vec![view("image", &image, 0..20), view("text", &text, 0..15), view("sound", &sound, 5..20)];
//! let views = Views::new(views, None, Vec::new())?;
//! let fitted = CcaParams::default().fit_views(&views, FitContext::default())?;
//! let graph = fitted.maps[0].graph()?; // input x [batch, 6], output z [batch, k]
//! assert_eq!(fitted.maps[0].output_dim(), fitted.maps[2].output_dim());
//! # assert_eq!(graph.outputs()[0].name, "z");
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```
//!
//! Two modalities with complete rows are a linfa data set, in single or double precision:
//!
//! ```
//! use chiasm_closed_form::cca::Cca;
//! use linfa::prelude::*;
//! use ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((30, 6), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let y = Array2::from_shape_fn((30, 4), |(i, j)| ((i * (2 * j + 3)) as f64).sin());
//! let dataset = Dataset::new(x, y);
//! let cca = Cca::params().ridge(0.1).fit(&dataset)?;
//! let images = cca.transform(dataset); // unit rows of both modalities in the shared space
//! assert_eq!(images.records.ncols(), images.targets.ncols());
//! # Ok::<(), chiasm_closed_form::Error>(())
//! ```
//!
//! Rows that do not fit into memory are summed in [`Moments`], batch by batch and in any number of processes.
//! Ridge and canonical correlation are fitted from the sums by the same code; Procrustes reads the rows
//! twice, for a [`SecondPass`].
//!
//! The parameters of a method are a `...Params` struct, which a recipe sets by the same names. Parameters
//! that may differ between modalities are a [`PerModality`]. Parameters that are not given are chosen by
//! cross-validation inside the training rows, or by validation rows (see [`search`]). A fit returns the
//! chosen parameters; fitting with them again searches nothing and gives the same bits.
//!
//! A trained map starts from a linear map's [`PrincipalProjection`] and is compared with [`baselines`].
//! [`bank`] builds the graph that corrects scores for hubness.

mod alternation;
pub mod bank;
mod baselines;
mod basis;
mod canonical;
pub mod cca;
mod context;
mod correlated;
mod crosses;
mod error;
mod features;
mod fit_named;
mod fitted;
mod folds;
mod held_out;
mod inverse;
pub mod kcca;
mod kernel;
mod map;
mod matching;
pub mod mean_vector;
mod moments;
mod moments_bytes;
pub mod ot_map;
mod partner_fit;
mod partners;
mod per_modality;
mod prepared;
mod principal_projection;
pub mod procrustes;
pub mod ridge;
mod row_sample;
mod sample;
pub mod search;
mod second_pass;
mod source;
mod spectral;
pub mod tensor_cca;
mod tensors;
mod transform;
mod unpaired;
mod unpaired_report;
mod views;

pub use baselines::{Baseline, baselines};
pub use chiasm_parameters::PerModality;
pub use context::FitContext;
pub use error::{Error, Result};
pub use fit_named::fit_named;
pub use fitted::{FitExport, Fitted, Method};
pub use inverse::{MapInverse, MapInverseKind};
pub use map::Map;
pub use moments::{Moments, SummedView};
pub use principal_projection::PrincipalProjection;
pub use search::SearchReport;
pub use second_pass::SecondPass;
pub use source::FromMoments;
pub use transform::Curve;
pub use unpaired_report::{HeldOutScores, MatchingReport, UnpairedReport};
pub use views::{View, Views};
