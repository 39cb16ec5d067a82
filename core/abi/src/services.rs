//! Services of the host that a plugin may use during a call.

use abi_stable::std_types::{RErr, RResult, RSlice, RStr, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};

use crate::{Code, NamedOwned, NamedTensor, PluginError};

/// A request to train an objective (since 1.1).
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct TrainJob<'a> {
    /// Graphs as ONNX bytes, in tensors of `u8`: `objective`, and optionally `after`.
    pub graphs: RSlice<'a, NamedTensor<'a>>,
    /// The training rows: one dense tensor for each batch port.
    pub training: RSlice<'a, NamedTensor<'a>>,
    /// The validation rows in the same form, or nothing.
    pub validation: RSlice<'a, NamedTensor<'a>>,
    /// A JSON object: `trainable`, `random`, `options`.
    pub specification: RStr<'a>,
}

/// The result of a training (since 1.1).
#[repr(C)]
#[derive(StableAbi)]
pub struct TrainOutcome {
    /// The trained weights.
    pub weights: RVec<NamedOwned>,
    /// The training report, a JSON object.
    pub report: RString,
}

/// Services of the host. Any thread of the plugin may call them until the call that received them returns.
#[sabi_trait]
pub trait Services: Send + Sync {
    /// Logs a message at level 1 (error), 2 (warning), 3 (information) or 4 (debugging).
    fn log(&self, level: u8, message: RStr<'_>);
    /// Reports progress. `false` asks the plugin to stop soon with `Code::CANCELLED`.
    fn progress(&self, done: u64, total: u64) -> RResult<bool, PluginError>;
    /// Returns the random seed.
    fn seed(&self) -> u64;
    /// Returns the number of threads that the plugin may use.
    fn threads(&self) -> u64;
    /// Runs an ONNX graph, given as bytes, on named inputs. Returns all outputs in the graph's order.
    #[sabi(last_prefix_field)]
    fn run(
        &self,
        graph: RSlice<'_, u8>,
        inputs: RSlice<'_, NamedTensor<'_>>,
    ) -> RResult<RVec<NamedOwned>, PluginError>;
    /// Trains an objective. A host of ABI 1.0 does not support it.
    fn train(&self, _job: TrainJob<'_>) -> RResult<TrainOutcome, PluginError> {
        RErr(PluginError {
            code: Code::UNSUPPORTED,
            message: "this host cannot train: training needs ABI 1.1 and the host is older; update the host"
                .into(),
            detail: RString::new(),
        })
    }
}

/// Services borrowed for one call.
pub type ServicesRef<'a> = Services_TO<'a, abi_stable::sabi_types::RRef<'a, ()>>;

/// Returns a borrowed trait object of the services.
pub fn borrow_services<S: Services>(services: &S) -> ServicesRef<'_> {
    Services_TO::from_ptr(abi_stable::sabi_types::RRef::new(services), abi_stable::sabi_trait::TD_Opaque)
}
