//! The stable ABI between the Chiasm host and its plugins: `#[repr(C)]` types with a layout that can be compared.
//!
//! This crate's version IS the ABI version, and a type's crate is part of its identity: types never move out of here.
//! It is also the only crate that names abi_stable; [`stable`] re-exports what the two sides need of it.
//!
//! **How it may grow.** A minor adds extension ids, trait methods with a default body, and module fields after the one marked
//! `last_prefix_field`. Anything else is a major. Whatever is open-ended (tensors, graphs, parameters, notes) travels as named
//! views, named buffers and JSON text, so that most features need no new ABI at all. `tests/golden/layouts.txt` holds the layout of
//! every type; a diff there is a decision.
//!
//! **Two-way check.** abi_stable accepts only "the plugin has at least what the host knows". [`compat::check`] also accepts
//! the everyday reverse: an older plugin in a newer host.
//!
//! What it refuses: a tensor view whose numbers do not add up (see [`TensorView::layout`]), and layouts of neither direction.

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

/// The ABI version, `major.minor.patch`: this crate's own.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The names of the ELF section and of the record's magic, fixed for all majors: a host must be able to read the version of a
/// plugin that it cannot load.
pub mod record {
    /// The ELF section that holds a plugin's manifest record.
    pub const SECTION: &str = ".chiasm";
    /// The first eight bytes of the record; the last of them counts the record's own format.
    pub const MAGIC: [u8; 8] = *b"CHIASM\0\x01";
    /// Bytes before the JSON: the magic, then its length as a little-endian u64.
    pub const HEADER: usize = 16;
    /// What the name of every root symbol begins with; the crate's name follows.
    pub const SYMBOL_PREFIX: &str = "chiasm_root_";
}

/// What the two sides need of abi_stable, so that no other crate names it.
pub mod stable {
    pub use abi_stable::StableAbi;
    pub use abi_stable::library::{AbiHeaderRef, LibHeader, RootModuleResult};
    pub use abi_stable::prefix_type::PrefixTypeTrait;
    pub use abi_stable::sabi_trait::TD_Opaque;
    pub use abi_stable::std_types::{
        RBox, RErr, RNone, ROk, ROption, RResult, RSlice, RSome, RStr, RString, RVec,
    };
}
