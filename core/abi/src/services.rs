//! What the host lends to a plugin for the length of one call.

use abi_stable::std_types::{RErr, RResult, RSlice, RStr, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};

use crate::{Code, NamedOwned, NamedTensor, PluginError};

/// A training asked of the host (since 1.1).
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct TrainJob<'a> {
    /// Graphs as their ONNX bytes, tensors of `u8`: `objective`, and `after` when there is one.
    pub graphs: RSlice<'a, NamedTensor<'a>>,
    /// The rows to train on, dense, one tensor for each batch port.
    pub training: RSlice<'a, NamedTensor<'a>>,
    /// Likewise the rows to validate on, or nothing.
    pub validation: RSlice<'a, NamedTensor<'a>>,
    /// A JSON object: `trainable`, `random`, `options`.
    pub specification: RStr<'a>,
}

/// What a training brings back (since 1.1).
#[repr(C)]
#[derive(StableAbi)]
pub struct TrainOutcome {
    /// The weights kept.
    pub weights: RVec<NamedOwned>,
    /// A JSON object: how the training went.
    pub report: RString,
}

/// The host's lent hand. Every method may be called from any of the plugin's threads, but only until the call returns.
#[sabi_trait]
pub trait Services: Send + Sync {
    /// Says something: level 1 error, 2 warning, 3 information, 4 debugging.
    fn log(&self, level: u8, message: RStr<'_>);
    /// Tells how far the work is; false asks the plugin to stop soon with `Code::CANCELLED`.
    fn progress(&self, done: u64, total: u64) -> RResult<bool, PluginError>;
    /// The seed of every random choice.
    fn seed(&self) -> u64;
    /// How many threads the plugin may keep busy.
    fn threads(&self) -> u64;
    /// Runs an ONNX graph (its bytes) on named inputs; all outputs come back, in the graph's order.
    #[sabi(last_prefix_field)]
    fn run(
        &self,
        graph: RSlice<'_, u8>,
        inputs: RSlice<'_, NamedTensor<'_>>,
    ) -> RResult<RVec<NamedOwned>, PluginError>;
    /// Trains an objective; a host of ABI 1.0 does not.
    fn train(&self, _job: TrainJob<'_>) -> RResult<TrainOutcome, PluginError> {
        RErr(PluginError {
            code: Code::UNSUPPORTED,
            message: "this host is older than the plugin and trains nothing: it needs ABI 1.1".into(),
            detail: RString::new(),
        })
    }
}

/// The services, borrowed for one call.
pub type ServicesRef<'a> = Services_TO<'a, abi_stable::sabi_types::RRef<'a, ()>>;

/// Lends services for one call.
pub fn borrow_services<S: Services>(services: &S) -> ServicesRef<'_> {
    Services_TO::from_ptr(abi_stable::sabi_types::RRef::new(services), abi_stable::sabi_trait::TD_Opaque)
}
