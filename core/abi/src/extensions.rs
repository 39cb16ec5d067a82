//! The extensions a plugin may offer, one module each, each with a layout of its own.

pub mod adapter;
pub mod aligner;
pub mod fusion;

use abi_stable::StableAbi;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};

use crate::{NamedTensor, PluginError};

/// What every function of an extension returns.
pub type Reply<T> = RResult<T, PluginError>;

/// What a fit starts from.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct FitJob<'a> {
    /// Which of the plugin's aligners or fusions.
    pub id: RStr<'a>,
    /// Named, borrowed training data.
    pub data: RSlice<'a, NamedTensor<'a>>,
    /// A JSON object: what the user set.
    pub parameters: RStr<'a>,
    /// A JSON object: facts the method needs beside the data (for a fusion: the modalities and the task).
    pub context: RStr<'a>,
}

/// Bytes with a name: an ONNX graph, mostly.
#[repr(C)]
#[derive(StableAbi)]
pub struct NamedBytes {
    /// The name, e.g. `source`.
    pub name: RString,
    /// The bytes.
    pub bytes: RVec<u8>,
}

/// What a fit brings back.
#[repr(C)]
#[derive(StableAbi)]
pub struct Outcome {
    /// The learned graphs as ONNX bytes, by role.
    pub graphs: RVec<NamedBytes>,
    /// A JSON object: parameters chosen, notes, and what else a revision of the extension says.
    pub report: RString,
}
