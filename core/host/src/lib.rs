//! Finds, verifies and loads plugins, and stands between them and the rest of Chiasm.
//!
//! **Load pipeline** (in `load.rs`, one step after the other; a plugin is loaded when something of it is first used):
//!
//! 1. read the file once, below a size cap
//! 2. sha256 of what was read *(to come: compared with the lock file, then the signature policy)*
//! 3. the file's structure, without running any of it: an ELF library of this machine whose tables, segments, dynamic entries and relocations
//!    lie within it; a manifest record; the same ABI major; panics that unwind
//!    *(to come: a first-time probe in a child process, and from then on isolation for those that need it)*
//! 4. a private copy in memory, sealed: what happens to the file afterwards no longer matters
//! 5. dlopen of that copy, `RTLD_NOW | RTLD_LOCAL`
//! 6. abi_stable's header, then the two-way layout check of the root module and of each extension promised
//!
//! Listing reads only the ELF section (step 3's first half). A library is never unloaded: strings, thread pools and thread-locals
//! of it may live on.
//!
//! **What remains until plugins run in a process of their own.** A damaged file is caught where its structure shows it (truncation,
//! and any flipped bit in headers or dynamic section that would lead the loader astray); bits flipped in code or data are not, until
//! hashes are locked. And no process survives its own segmentation fault, stack
//! overflow, failed allocation, `exit()` or an endless loop that never reports progress.
//!
//! **What comes back is not believed.** Graphs must parse, pass `verify_learned`, hold finite weights and have the promised ports; tensors must
//! have the promised types and shapes. Every [`HostError`] names the plugin, its version, its file and the phase.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("plugins are 64-bit ELF libraries; other formats have no loader yet");

mod elf;
mod error;
mod handles;
mod host;
mod load;
mod manifest;
mod search;
mod services;
mod verify;

pub use chiasm_plugin::{
    AlignModality, AlignSpec, Code, Draft, EncoderSpec, Fused, FusionNeeds, FusionSpec, Inverse, InverseKind,
    Item, Learned, Level, Modality, ModalityCount, ModelInput, Parameter, PortSpec, Signature, Takes, Task,
    TaskKind,
};
pub use error::{HostError, Phase, PluginTag};
pub use handles::adapter::{AdapterFactory, AdapterInstance, PluginTensor};
pub use handles::aligner::AlignerHandle;
pub use handles::data::BorrowedArray;
pub use handles::fusion::FusionHandle;
pub use host::{Host, ListedComponent, PluginInfo, PluginStatus};
pub use manifest::{Manifest, PluginComponent};
pub use search::{PluginOrigin, PluginSearch};
pub use services::HostServices;

/// The result of everything that a host does.
pub type Result<T, E = HostError> = std::result::Result<T, E>;
