//! `chiasm.fusion/2`: fits a graph from the vectors or tokens of several modalities to one vector, and to the
//! logits of a task if there is one.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use super::{FitJob, Outcome, Reply};
use crate::ServicesRef;

/// The functions of `chiasm.fusion/2`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = FusionModule_Ref)))]
pub struct FusionModule {
    /// Returns the parameters of the fusion as a JSON list of `{name, type, range, default, doc}`.
    pub parameters: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
    /// Checks the parameters, a JSON object. Returns whether the fusion reads tokens with them and the tasks
    /// it supports, as a JSON object `{tokens, tasks}`.
    pub needs: extern "C" fn(id: RStr<'_>, parameters: RStr<'_>) -> Reply<RString>,
    /// Fits or builds the fusion. The outcome has one graph, `fused`.
    #[sabi(last_prefix_field)]
    pub fit: extern "C" fn(job: FitJob<'_>, services: &ServicesRef<'_>) -> Reply<Outcome>,
}
