//! `chiasm.adapter/1`: prepares raw items of one modality as inputs of an encoder.

use abi_stable::std_types::{RBox, ROption, RSlice, RStr, RString, RVec};
use abi_stable::{StableAbi, sabi_trait};

use super::Reply;
use crate::{OwnedTensor, ServicesRef};

/// The kind of a raw item. A minor version may add kinds.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemKind(pub u32);

impl ItemKind {
    /// The bytes are the path of a file, in the encoding of the operating system.
    pub const PATH: Self = ItemKind(1);
    /// The bytes are UTF-8 text.
    pub const TEXT: Self = ItemKind(2);
    /// The item is a row number, without bytes.
    pub const ROW: Self = ItemKind(3);
}

/// A borrowed raw item.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Item<'a> {
    /// The kind of the item.
    pub kind: ItemKind,
    /// The bytes of the path or the text.
    pub bytes: RSlice<'a, u8>,
    /// The row number.
    pub row: u64,
}

/// An adapter opened for one encoder. It may be called from several threads at once.
#[sabi_trait]
pub trait AdapterObject: Send + Sync {
    /// Returns a description of the tensors that `prepare` makes, as a JSON list.
    fn inputs(&self) -> Reply<RString>;
    /// Prepares one raw item: one tensor per input, without a batch axis.
    fn prepare(&self, item: Item<'_>) -> Reply<RVec<OwnedTensor>>;
    /// Returns the number of rows, for an adapter that takes rows.
    fn rows(&self) -> Reply<ROption<u64>>;
    /// Returns the graph that follows the encoder, as ONNX bytes.
    #[sabi(last_prefix_field)]
    fn tail(&self) -> Reply<RVec<u8>>;
    /// Returns the graph that precedes the encoder, as ONNX bytes; none if the tensors of `prepare` are
    /// inputs of the encoder. Since 2.1.
    fn head(&self) -> Reply<ROption<RVec<u8>>> {
        Reply::ROk(ROption::RNone)
    }
}

/// An opened adapter. The host owns it; the plugin's code drops it.
pub type AdapterBox = AdapterObject_TO<'static, RBox<()>>;

/// The functions of `chiasm.adapter/1`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = AdapterModule_Ref)))]
pub struct AdapterModule {
    /// Returns the kind of item that the adapter takes: `path`, `text` or `row`.
    pub takes: extern "C" fn(id: RStr<'_>) -> Reply<RString>,
    /// Returns a draft card as JSON, from the signature of a model (JSON) and its directory; `null` if the
    /// adapter does not recognise the model.
    pub draft: extern "C" fn(id: RStr<'_>, signature: RStr<'_>, directory: RSlice<'_, u8>) -> Reply<RString>,
    /// Opens the adapter for an encoder, whose specification is JSON.
    #[sabi(last_prefix_field)]
    pub open: extern "C" fn(id: RStr<'_>, spec: RStr<'_>, services: &ServicesRef<'_>) -> Reply<AdapterBox>,
}
