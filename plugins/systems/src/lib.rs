//! Five systems of alignment by geometry, each an aligner: an architecture and the weights of its terms.
//!
//! | aligner | maps | terms |
//! |---|---|---|
//! | `geometric` | networks into a shared space | InfoNCE and one of `ot`, `neighbourhood`, `distances` |
//! | `hybrid-riemannian` | linear, with bounded singular values | InfoNCE, `ot`, `covariance` |
//! | `gotma` | networks into a shared space | `gromov_wasserstein`, `geodesics`, `curvature`, InfoNCE |
//! | `ot-align-merge` | networks and decoders | `paired_mse`, `sinkhorn_divergence`, `reconstruction` |
//! | `geometry-warping` | networks there and back | `barycentric`, `cycle`, `injectivity`, `smoothness` |
//!
//! The weights of terms that belong to a system are its own parameters, with the names of the texts that
//! propose it (`lambda_ot`, `lambda_rc`); `[align.terms]` sets the weight of every other term and takes
//! precedence. The first four are [`chiasm_kit::heads`], the last is [`chiasm_kit::translators`]. Where the
//! formula of a text cannot be computed as printed, the documentation of the system says what is computed.

mod geometric;
mod geometry_warping;
mod gotma;
mod hybrid_riemannian;
mod ot_align_merge;
mod system;

pub use geometric::{Geometric, GeometricParameters, GeometricTerm};
pub use geometry_warping::{GeometryWarping, WarpingParameters};
pub use gotma::{Gotma, GotmaParameters};
pub use hybrid_riemannian::{HybridParameters, HybridRiemannian};
pub use ot_align_merge::{AlignMergeParameters, OtAlignMerge};

chiasm_plugin::export_plugin! {
    aligners: [Geometric, HybridRiemannian, Gotma, OtAlignMerge, GeometryWarping]
}
