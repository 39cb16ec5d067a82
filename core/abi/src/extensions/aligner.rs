//! `chiasm.aligner/2`: the vectors of two or more modalities become maps into one shared space.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use super::{FitJob, Outcome, Reply};
use crate::ServicesRef;

/// The functions of `chiasm.aligner/2`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = AlignerModule_Ref)))]
pub struct AlignerModule {
    /// The parameters of the aligner of this id, as a JSON list of `{name, type, range, default, doc}`.
    pub parameters: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
    /// Checks the parameters, a JSON object, of the aligner of this id. Returns how many modalities it takes
    /// with them, as a JSON object `{least, most}`; `most` is `null` without a limit.
    pub takes: extern "C" fn(id: RStr<'_>, parameters: RStr<'_>) -> Reply<RString>,
    /// Fits. The job's context is the modalities and the anchor as JSON; its data are `<modality>.pooled` and
    /// `<modality>.row`, and `validation` where rows are set apart. The outcome's graphs are `map.<modality>` for every
    /// modality, and `inverse.<modality>` where one exists.
    #[sabi(last_prefix_field)]
    pub fit: extern "C" fn(job: FitJob<'_>, services: &ServicesRef<'_>) -> Reply<Outcome>,
}
