//! Finds, verifies, loads and calls plugins.
//!
//! **Load pipeline** (`load.rs`). A plugin is loaded when it is first used:
//!
//! 1. Read the file once, up to a maximum size.
//! 2. Compute its SHA-256 digest. *(Planned: compare it with a lock file and check a signature.)*
//! 3. Check the file without running its code: an ELF library of this machine whose tables, segments, dynamic
//!    entries and relocations lie within it; a manifest record; the same ABI major version; panics that
//!    unwind.
//!    *(Planned: a first load in a child process.)*
//! 4. Make a sealed private copy in memory, so that later changes of the file have no effect.
//! 5. Open the copy with `dlopen`, `RTLD_NOW | RTLD_LOCAL`.
//! 6. Check abi_stable's header, then the layouts of the root module and of each listed extension, in both
//!    directions.
//!
//! Listing plugins reads only the ELF section (the first half of step 3). A library is never unloaded,
//! because its strings, thread pools and thread-locals may still be in use.
//!
//! **Limits.** Plugins run in the host's process. Truncation and damage of headers or the dynamic section are
//! detected; flipped bits in code or data are not. A segmentation fault, a stack overflow, a failed
//! allocation, an `exit()` or an endless loop without progress reports in a plugin ends or blocks the host.
//!
//! **Checks of results.** Graphs must parse, pass `verify_learned`, have finite weights and have the
//! specified ports; tensors must have the specified types and shapes. Every [`HostError`] names the plugin,
//! its version, its file and the phase.
//!
//! ```
//! use chiasm_host::{Host, PluginSearch};
//! let host = Host::discover(&PluginSearch::from_environment(Vec::new()));
//! for plugin in host.plugins() {
//!     println!("{}", plugin.path.display());
//! }
//! let Err(unknown) = host.aligner("no-such-aligner") else { return };
//! assert!(unknown.to_string().contains("no-such-aligner"));
//! ```

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
    Item, Learned, Level, Modality, ModalityCount, ModelInput, Parameter, ParquetPages, PortSpec, Signature,
    Takes, Task, TaskKind, Undecided, npy_header, open_file, parameters::Kind as ParameterKind, read_file,
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

/// The result type of the host.
pub type Result<T, E = HostError> = std::result::Result<T, E>;
