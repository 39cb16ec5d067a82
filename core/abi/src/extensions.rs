//! The extensions that a plugin may offer. Each has a module with its own layout.

pub mod adapter;
pub mod aligner;
pub mod fusion;

use abi_stable::StableAbi;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};

use crate::{NamedTensor, PluginError};

/// The return type of every extension function.
pub type Reply<T> = RResult<T, PluginError>;

/// The arguments of a fit.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct FitJob<'a> {
    /// The id of the aligner or fusion.
    pub id: RStr<'a>,
    /// The training data.
    pub data: RSlice<'a, NamedTensor<'a>>,
    /// The user's parameters, a JSON object.
    pub parameters: RStr<'a>,
    /// The specification of the fit, a JSON object (for a fusion: the modalities and the task).
    pub context: RStr<'a>,
}

/// Named bytes, usually an ONNX graph.
#[repr(C)]
#[derive(StableAbi)]
pub struct NamedBytes {
    /// The name, for example `map.image`.
    pub name: RString,
    /// The bytes.
    pub bytes: RVec<u8>,
}

/// The result of a fit.
#[repr(C)]
#[derive(StableAbi)]
pub struct Outcome {
    /// The learned graphs as ONNX bytes, named by their role.
    pub graphs: RVec<NamedBytes>,
    /// A JSON object: the parameters used, notes, and whatever a revision of the extension adds.
    pub report: RString,
}
