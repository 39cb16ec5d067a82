//! The error type that crosses the ABI.

use abi_stable::StableAbi;
use abi_stable::std_types::RString;

/// The kind of an error. A minor version may add codes: treat an unknown code as [`Code::OTHER`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub u32);

impl Code {
    /// The data, parameters or files cannot be used.
    pub const INVALID: Self = Code(1);
    /// The host asked to stop, and the plugin did.
    pub const CANCELLED: Self = Code(2);
    /// The plugin's code panicked.
    pub const PANICKED: Self = Code(3);
    /// The request is valid but not supported.
    pub const UNSUPPORTED: Self = Code(4);
    /// The object panicked earlier and accepts no more calls.
    pub const POISONED: Self = Code(5);
    /// A service of the host failed.
    pub const HOST: Self = Code(6);
    /// The plugin has been shut down and accepts no more calls.
    pub const QUIESCED: Self = Code(7);
    /// The process of the plugin ended or was stopped during the call.
    pub const CRASHED: Self = Code(8);
    /// Anything else.
    pub const OTHER: Self = Code(100);

    /// Returns the code as one word, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::INVALID => "invalid",
            Code::CANCELLED => "cancelled",
            Code::PANICKED => "panicked",
            Code::UNSUPPORTED => "unsupported",
            Code::POISONED => "poisoned",
            Code::HOST => "host",
            Code::QUIESCED => "quiesced",
            Code::CRASHED => "crashed",
            _ => "other",
        }
    }
}

/// An error from the other side of the ABI. The receiver adds the plugin and the operation.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct PluginError {
    /// The kind of failure.
    pub code: Code,
    /// The message, one sentence.
    pub message: RString,
    /// A JSON object with details (`at` for a panic), or an empty string.
    pub detail: RString,
}
