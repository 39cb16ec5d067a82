//! `chiasm.fusion/2`: vectors, or tokens, of several modalities become one vector, and perhaps the answer to a task.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use super::{FitJob, Outcome, Reply};
use crate::ServicesRef;

/// The functions of `chiasm.fusion/2`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = FusionModule_Ref)))]
pub struct FusionModule {
    /// The parameters of the fusion of this id, as a JSON list of `{name, type, range, default, doc}`.
    pub parameters: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
    /// Checks the parameters, a JSON object, of the fusion of this id. Returns what it reads and learns with
    /// them, as a JSON object `{tokens, tasks}`.
    pub needs: extern "C" fn(id: RStr<'_>, parameters: RStr<'_>) -> Reply<RString>,
    /// Fits or builds; the outcome's graph is `fused`.
    #[sabi(last_prefix_field)]
    pub fit: extern "C" fn(job: FitJob<'_>, services: &ServicesRef<'_>) -> Reply<Outcome>,
}
