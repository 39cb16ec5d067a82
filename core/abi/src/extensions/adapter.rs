//! `chiasm.adapter/1`: raw items of one modality become an encoder's inputs.

use abi_stable::std_types::{RBox, ROption, RSlice, RStr, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};

use super::Reply;
use crate::{OwnedTensor, ServicesRef};

/// What an item's bytes are; open, as [`Code`](crate::Code) is.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemKind(pub u32);

impl ItemKind {
    /// The bytes are a file's path, as the operating system spells it.
    pub const PATH: Self = ItemKind(1);
    /// The bytes are UTF-8 text.
    pub const TEXT: Self = ItemKind(2);
    /// The number is a row's; there are no bytes.
    pub const ROW: Self = ItemKind(3);
}

/// One raw item, borrowed.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Item<'a> {
    /// What it is.
    pub kind: ItemKind,
    /// The path's or the text's bytes.
    pub bytes: RSlice<'a, u8>,
    /// The row's number.
    pub row: u64,
}

/// An adapter opened for one encoder. Called from several threads at once.
#[sabi_trait]
pub trait AdapterObject: Send + Sync {
    /// The tensors that `prepare` makes, as a JSON list.
    fn inputs(&self) -> Reply<RString>;
    /// One raw item as one tensor per input, without a batch axis.
    fn prepare(&self, item: Item<'_>) -> Reply<RVec<OwnedTensor>>;
    /// How many rows there are to number, for an adapter that takes rows.
    fn rows(&self) -> Reply<ROption<u64>>;
    /// The graph behind the encoder, as ONNX bytes.
    #[sabi(last_prefix_field)]
    fn tail(&self) -> Reply<RVec<u8>>;
}

/// An opened adapter, owned by the host, dropped by the plugin's code.
pub type AdapterBox = AdapterObject_TO<'static, RBox<()>>;

/// The functions of `chiasm.adapter/1`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = AdapterModule_Ref)))]
pub struct AdapterModule {
    /// What the adapter of this id takes: `path`, `text` or `row`.
    pub takes: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
    /// A draft card for a model (its signature as JSON) in a directory, as JSON; `null` when it is not one of its own.
    pub draft: extern "C" fn(id: RStr<'_>, signature: RStr<'_>, directory: RSlice<'_, u8>) -> Reply<RString>,
    /// Opens the adapter for an encoder (its specification as JSON).
    #[sabi(last_prefix_field)]
    pub open: extern "C" fn(id: RStr<'_>, spec: RStr<'_>, services: &ServicesRef<'_>) -> Reply<AdapterBox>,
}
