//! `chiasm.fusion/1`: vectors, or tokens, of several modalities become one vector, and perhaps the answer to a task.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use super::{FitJob, Outcome, Reply};
use crate::ServicesRef;

/// The functions of `chiasm.fusion/1`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = FusionModule_Ref)))]
pub struct FusionModule {
    /// The parameters of the fusion of this id, as a JSON list of `{name, type, default, doc}`.
    pub parameters: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
    /// Fits or builds; the outcome's graph is `fused`.
    #[sabi(last_prefix_field)]
    pub fit: extern "C" fn(job: FitJob<'_>, services: &ServicesRef<'_>) -> Reply<Outcome>,
    /// Since 1.2: what the fusion of this id reads and learns, as a JSON object `{tokens, tasks}`. Without it: pooled vectors, and no task.
    pub needs: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
}
