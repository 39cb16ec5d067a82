//! The stable ABI between the Chiasm host and its plugins: `#[repr(C)]` types whose layouts can be compared.
//!
//! The version of this crate is the version of the ABI. Types must not move to another crate, because the
//! crate of a type is part of its identity. No other crate names abi_stable; [`stable`] re-exports what both
//! sides need.
//!
//! **Versions.** A minor version may add extension ids, trait methods with a default body, and module fields
//! after the one marked `last_prefix_field`. Any other change needs a major version. Tensors, graphs,
//! parameters and notes are passed as named views, named bytes and JSON text, so most features need no change
//! of the ABI. `tests/golden/layouts.txt` holds the layout of every type; a test compares them.
//!
//! **Two-way check.** abi_stable accepts a plugin only if it has at least the fields that the host knows.
//! [`compat::check`] also accepts the reverse: an older plugin in a newer host.
//!
//! **Tensors.** A tensor view is checked before it is read; see [`TensorView::layout`].
//!
//! ```
//! use chiasm_abi::TensorView;
//! let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
//! assert_eq!(TensorView::dense(&values, &[2, 3]).layout()?.shape(), [2, 3]);
//! assert!(TensorView::dense(&values, &[2, 4]).layout().is_err());
//! # Ok::<(), chiasm_abi::ViewError>(())
//! ```

pub mod compat;
mod error;
mod extensions;
mod root;
mod services;
mod tensor;
mod view;

pub use error::{Code, PluginError};
pub use extensions::adapter::{
    AdapterBox, AdapterModule, AdapterModule_Ref, AdapterObject, AdapterObject_TO, Item, ItemKind,
};
pub use extensions::aligner::{AlignerModule, AlignerModule_Ref};
pub use extensions::fusion::{FusionModule, FusionModule_Ref};
pub use extensions::{FitJob, NamedBytes, Outcome, Reply};
pub use root::{Extension, ExtensionModule, Root, Root_Ref, root_header, root_result};
pub use services::{Services, Services_TO, ServicesRef, TrainJob, TrainOutcome, borrow_services};
pub use tensor::{NamedOwned, NamedTensor, OwnedTensor};
pub use view::{DataType, Device, Element, MAX_RANK, TensorLayout, TensorView, ViewError};

/// The ABI version, `major.minor.patch`: the version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The format of a plugin's manifest record. It is the same in all major versions, so that a host can read
/// the version of a plugin that it cannot load.
pub mod record {
    /// The ELF section that holds a plugin's manifest record.
    pub const SECTION: &str = ".chiasm";
    /// The first eight bytes of the record. The last one is the version of the record format.
    pub const MAGIC: [u8; 8] = *b"CHIASM\0\x01";
    /// The number of bytes before the JSON: the magic, then the length of the JSON as a little-endian u64.
    pub const HEADER: usize = 16;
    /// The prefix of every root symbol; the name of the plugin's crate follows.
    pub const SYMBOL_PREFIX: &str = "chiasm_root_";
}

/// The parts of abi_stable that both sides need.
pub mod stable {
    pub use abi_stable::StableAbi;
    pub use abi_stable::library::{AbiHeaderRef, LibHeader, RootModuleResult};
    pub use abi_stable::prefix_type::PrefixTypeTrait;
    pub use abi_stable::sabi_trait::TD_Opaque;
    pub use abi_stable::std_types::{
        RBox, RErr, RNone, ROk, ROption, RResult, RSlice, RSome, RStr, RString, RVec,
    };
}
