//! Finds, verifies, loads and calls plugins.
//!
//! **Load pipeline** (`library.rs`, `start.rs`). A plugin is loaded when it is first used:
//!
//! 1. Read the file once, up to a maximum size, and compute its SHA-256 digest.
//! 2. Read its manifest without running its code: an ELF library of this machine with a manifest record and
//!    the same ABI major version.
//! 3. Make a sealed private copy in memory, so that later changes of the file have no effect.
//! 4. Look the digest up in the lock file, check the signature, and apply the policy (`trust.rs`).
//! 5. Decide where it runs ([`Isolation`]). A plugin that is neither locked nor signed, or that crashed
//!    before, runs in a process of its own (`isolated/`), if the program has set a [`WorkerCommand`]. One
//!    that crashed in three commands is refused (`crashes.rs`).
//! 6. In that process: open the copy with `dlopen`, `RTLD_NOW | RTLD_LOCAL`.
//! 7. Check abi_stable's header, then the layouts of the root module and of each listed extension, in both
//!    directions.
//!
//! Listing plugins stops after the second step. A library is never unloaded, because its strings, thread
//! pools and thread-locals may still be in use; [`Host::reload`] loads a new one beside it.
//!
//! **Faults of plugins.** A panic is an error wherever the plugin runs. In a process of its own, a
//! segmentation fault, a stack overflow, a failed allocation, an `exit()` and an endless loop are errors too:
//! the process ends, the call fails, and the next call starts a new process. An item of an adapter whose
//! process crashed is tried once more alone, so that only the item that causes the crash fails. In the host's
//! process these faults end the host.
//!
//! Isolation protects against faults, not against attacks: the process has the rights of the user.
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

mod c_interface;
mod c_library;
mod calls;
mod crashes;
mod elf;
mod error;
mod handles;
mod host;
mod info;
mod isolated;
mod library;
mod manifest;
mod options;
mod search;
mod services;
mod shared_values;
mod signing;
mod start;
mod trust;
mod validate;
mod verify;

pub use chiasm_plugin::{
    AlignModality, AlignSpec, CardKey, Code, Draft, EncoderSpec, Fused, FusionNeeds, FusionSpec, Inverse,
    InverseKind, Item, LEFT_OUT, Learned, Level, Modality, ModalityCount, ModelInput, Parameter, PortSpec,
    Signature, Takes, Task, TaskKind, Undecided, fields_of, npy_header, open_file,
    parameters::Kind as ParameterKind, read_file,
};
pub use crashes::{CrashRecord, CrashRecords, QUARANTINE_AFTER};
pub use error::{HostError, Phase, PluginTag};
pub use handles::adapter::{AdapterFactory, AdapterInstance, PluginTensor};
pub use handles::aligner::AlignerHandle;
pub use handles::data::BorrowedArray;
pub use handles::fusion::FusionHandle;
pub use host::Host;
pub use info::{ListedComponent, PluginInfo, PluginStatus};
pub use isolated::{IsolationLimits, WorkerCommand, run_worker};
pub use manifest::{Interface, ListedKey, Manifest, PluginComponent};
pub use options::{HostOptions, Isolation};
pub use search::{PluginOrigin, PluginSearch};
pub use services::HostServices;
pub use shared_values::SharedValues;
pub use signing::{create_key, sign};
pub use trust::{
    LOCK_FILE, LockState, LockedPlugin, PluginLock, PluginPolicy, PluginTrust, signature_path, target,
};
pub use validate::{ValidationOptions, ValidationOutcome, validate};

/// The result type of the host.
pub type Result<T, E = HostError> = std::result::Result<T, E>;
