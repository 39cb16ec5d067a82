//! `chiasm.aligner/1`: paired rows of two latent spaces become two maps into a shared one.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use super::{FitJob, Outcome, Reply};
use crate::ServicesRef;

/// The functions of `chiasm.aligner/1`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = AlignerModule_Ref)))]
pub struct AlignerModule {
    /// The parameters of the aligner of this id, as a JSON list of `{name, type, default, doc}`.
    pub parameters: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
    /// Fits; the outcome's graphs are `source`, `target` and, when there is one, `inverse`.
    #[sabi(last_prefix_field)]
    pub fit: extern "C" fn(job: FitJob<'_>, services: &ServicesRef<'_>) -> Reply<Outcome>,
}
