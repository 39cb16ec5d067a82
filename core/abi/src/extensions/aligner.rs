//! `chiasm.aligner/2`: fits maps from two or more modalities into one shared space.

use abi_stable::StableAbi;
use abi_stable::std_types::{RStr, RString};

use super::{FitJob, Outcome, Reply};
use crate::ServicesRef;

/// The functions of `chiasm.aligner/2`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = AlignerModule_Ref)))]
pub struct AlignerModule {
    /// Returns the parameters of the aligner as a JSON list of `{name, type, range, default, doc}`.
    pub parameters: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
    /// Checks the parameters, a JSON object. Returns how many modalities the aligner takes with them, as a
    /// JSON object `{least, most}`; `most` is `null` without a limit.
    pub takes: extern "C" fn(id: RStr<'_>, parameters: RStr<'_>) -> Reply<RString>,
    /// Fits the aligner. The job's context is the modalities and the anchor as JSON; its data are
    /// `<modality>.pooled` and `<modality>.row`, and `validation` if there is a validation split. The graphs
    /// of the outcome are `map.<modality>` for every modality, and `inverse.<modality>` where one exists.
    #[sabi(last_prefix_field)]
    pub fit: extern "C" fn(job: FitJob<'_>, services: &ServicesRef<'_>) -> Reply<Outcome>,
}
