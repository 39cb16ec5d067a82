//! The one error that crosses the ABI.

use abi_stable::StableAbi;
use abi_stable::std_types::RString;

/// What went wrong, as an open number: a minor may add codes, so an unknown one must be treated as [`Code::OTHER`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub u32);

impl Code {
    /// The data, the parameters or the files given are not usable.
    pub const INVALID: Self = Code(1);
    /// The host asked to stop, and the plugin did.
    pub const CANCELLED: Self = Code(2);
    /// The plugin's code panicked.
    pub const PANICKED: Self = Code(3);
    /// The request is understood but not served.
    pub const UNSUPPORTED: Self = Code(4);
    /// The object panicked earlier and takes no more calls.
    pub const POISONED: Self = Code(5);
    /// A service that the host lent failed.
    pub const HOST: Self = Code(6);
    /// The plugin was asked to come to rest and takes no more calls.
    pub const QUIESCED: Self = Code(7);
    /// Anything else.
    pub const OTHER: Self = Code(100);

    /// The code as one word, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::INVALID => "invalid",
            Code::CANCELLED => "cancelled",
            Code::PANICKED => "panicked",
            Code::UNSUPPORTED => "unsupported",
            Code::POISONED => "poisoned",
            Code::HOST => "host",
            Code::QUIESCED => "quiesced",
            _ => "other",
        }
    }
}

/// An error from the other side. The receiver adds who, where and when.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct PluginError {
    /// The kind of failure.
    pub code: Code,
    /// One sentence for a person.
    pub message: RString,
    /// A JSON object with more (for a panic: `at`), or empty.
    pub detail: RString,
}
