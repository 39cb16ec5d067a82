//! Terms of training objectives over two or more modalities, one file each.
//!
//! A term is a scalar of a training graph that is differentiable in the maps. [`TermWeights`] holds the
//! weight of each; a trained aligner is an architecture with default weights, and a recipe may set every
//! weight (`[align.terms]`). The file of a term states its formula and source.
//!
//! | term | what it asks for | items without a partner |
//! |---|---|---|
//! | `infonce`, `siglip` | partners are told apart from other items | no part |
//! | `paired_mse` | partners coincide | no part |
//! | `gram_volume` | partners of all modalities span no volume | no part |
//! | `ot`, `sinkhorn_divergence` | the clouds coincide | count |
//! | `gromov_wasserstein` | the clouds have the same distances | count |
//! | `plan_matching` | the clouds match as under the closed form | count |
//! | `neighbourhood` | partners have the same neighbours | no part |
//! | `distances` | partners are as far from each other | no part |
//! | `covariance` | partners have the same local covariance | no part |
//! | `geodesics` | partners are as far along the neighbourhood graph | no part |
//! | `curvature` | partners have the same curvature | no part |
//! | `structure` | a map keeps similarities | count |
//! | `reconstruction` | decoders recover items | count |
//! | `translation` | items become their partners of another modality | no part |
//! | `barycentric` | items become where the plan of the closed form carries them | count |
//! | `cycle` | items come back from another modality | count |
//! | `injectivity` | images keep a distance | count |
//! | `smoothness` | small Jacobians | count |
//!
//! Terms that compare all pairs of items do so on the first `structure_rows` examples of the shuffled batch.
//! An example makes one of the two round trips of `cycle` if no other term reads all examples.
//!
//! ```
//! use chiasm_kit::terms::{mean, infonce};
//! use chiasm_plugin::graph::{Builder, DType, Dim, Tensor};
//! let mut b = Builder::new("loss");
//! let dims = [Dim::named("batch"), 8.into()];
//! let [x, y] = [b.input("x", DType::F32, &dims)?, b.input("y", DType::F32, &dims)?];
//! let log_tau = b.constant("log_tau", Tensor::scalar(0.1_f32.ln()));
//! let loss = infonce(&mut b, &x, &y, &log_tau, None);
//! b.output("loss", &loss, DType::F32, &[]);
//! assert!(b.finish()?.gradient("loss", &["x"]).is_ok());
//! # Ok::<(), chiasm_plugin::graph::Error>(())
//! ```

mod arithmetic;
mod barycentric;
mod batch;
mod covariance;
mod curvature;
mod cycle;
mod distances;
mod geodesics;
mod gram_volume;
mod gromov_wasserstein;
mod infonce;
mod injectivity;
mod neighbourhood;
mod neighbours;
mod paired_mse;
mod plan_matching;
mod reconstruction;
mod settings;
mod siglip;
mod sinkhorn;
mod smoothness;
mod structure;
mod task;
mod translation;
mod transport;
mod weights;

pub use arithmetic::{average, mean, plus};
use arithmetic::{
    first_along, inner, mean_of_squares, mean_square, normalised, outer, products, roots, row_dots, row_sums,
    squared_distances, total,
};
pub(crate) use arithmetic::{first_rows, weighted_mean};
pub use batch::{RowPair, TermBatch, TermNetwork};
pub use infonce::infonce;
pub use paired_mse::paired_mse;
pub use settings::TermSettings;
pub use siglip::siglip;
pub(crate) use weights::read_parts_only;
pub use weights::{TermWeights, term};

use crate::batch_mask::PairMask;
