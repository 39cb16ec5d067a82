//! An opened adapter of a plugin, as an object of the ABI.

use std::ffi::OsStr;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chiasm_abi::stable::{RErr, ROption, RString, RVec, TD_Opaque};
use chiasm_abi::{
    AdapterBox, AdapterObject, AdapterObject_TO, Code, Item as RawItem, ItemKind, OwnedTensor, Reply,
};

use super::{guard, tensor};
use crate::{Adapter, EncoderSpec, Error, Item, Result, Services};

/// An opened adapter that refuses calls after a panic, and whose drop may panic.
pub(super) struct GuardedAdapter<A: Adapter> {
    adapter: ManuallyDrop<A>,
    poisoned: AtomicBool,
}

impl<A: Adapter> GuardedAdapter<A> {
    pub(super) fn open(spec: &EncoderSpec, services: &Services<'_>) -> Result<AdapterBox> {
        let adapter = ManuallyDrop::new(A::open(spec, services)?);
        let opened = Self { adapter, poisoned: AtomicBool::new(false) };
        Ok(AdapterObject_TO::from_value(opened, TD_Opaque))
    }

    /// Runs a guarded call. Calls after a panic are refused, because the panic may have left the state
    /// inconsistent.
    fn call<T>(&self, work: impl FnOnce(&A) -> Result<T>) -> Reply<T> {
        if self.poisoned.load(Ordering::Acquire) {
            let message = "this adapter panicked earlier and accepts no more calls; open it again";
            return Err(super::to_abi(Error::new(Code::POISONED, message))).into();
        }
        let reply = guard::call(|| work(&self.adapter));
        if matches!(&reply, RErr(e) if e.code == Code::PANICKED) {
            self.poisoned.store(true, Ordering::Release);
        }
        reply
    }
}

impl<A: Adapter> AdapterObject for GuardedAdapter<A> {
    fn inputs(&self) -> Reply<RString> {
        self.call(|adapter| Ok(serde_json::to_string(&adapter.inputs())?.into()))
    }

    fn prepare(&self, item: RawItem<'_>) -> Reply<RVec<OwnedTensor>> {
        self.call(|adapter| {
            let tensors = adapter.prepare(self::item(item)?)?;
            // Not `collect`: through `Result` it does not know the capacity, and this runs once per item.
            let mut owned = RVec::with_capacity(tensors.len());
            for tensor in tensors {
                owned.push(tensor::to_abi(tensor)?);
            }
            Ok(owned)
        })
    }

    fn rows(&self) -> Reply<ROption<u64>> {
        self.call(|adapter| Ok(adapter.rows().map(|rows| rows as u64).into()))
    }

    fn tail(&self) -> Reply<RVec<u8>> {
        self.call(|adapter| Ok(adapter.tail()?.to_bytes()?.into()))
    }

    fn head(&self) -> Reply<ROption<RVec<u8>>> {
        self.call(|adapter| {
            let head = adapter.head()?.map(|head| head.to_bytes()).transpose()?;
            Ok(head.map(RVec::from).into())
        })
    }
}

impl<A: Adapter> Drop for GuardedAdapter<A> {
    fn drop(&mut self) {
        // SAFETY: the field is dropped only here, and not used afterwards.
        guard::ignore_panics(|| unsafe { ManuallyDrop::drop(&mut self.adapter) });
    }
}

fn item(raw: RawItem<'_>) -> Result<Item<'_>> {
    let bytes = raw.bytes.as_slice();
    match raw.kind {
        ItemKind::PATH => Ok(Item::Path(Path::new(OsStr::from_bytes(bytes)))),
        ItemKind::TEXT => Ok(Item::Text(std::str::from_utf8(bytes)?)),
        ItemKind::ROW => Ok(Item::Row(usize::try_from(raw.row)?)),
        ItemKind(kind) => Err(Error::unsupported(format!(
            "items of kind {kind} are newer than this plugin; rebuild the plugin against this release"
        ))),
    }
}
