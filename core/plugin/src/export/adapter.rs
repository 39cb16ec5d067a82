//! `chiasm.adapter/1` over the author's [`Adapter`]s.

use std::ffi::OsStr;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chiasm_abi::stable::{RErr, ROption, RSlice, RStr, RString, RVec, TD_Opaque};
use chiasm_abi::{
    AdapterBox, AdapterObject, AdapterObject_TO, Code, Item as RawItem, ItemKind, OwnedTensor, Reply,
    ServicesRef,
};

use super::{Plugin, budget, fit::find, guard, tensor};
use crate::{Adapter, Draft, EncoderSpec, Error, Item, Result, Services, Signature, Takes};

/// One adapter of a plugin, its type erased.
pub struct AdapterEntry {
    id: &'static str,
    takes: fn() -> Takes,
    draft: fn(&Signature, &Path) -> Result<Option<Draft>>,
    open: fn(&EncoderSpec, &Services<'_>) -> Result<AdapterBox>,
}

impl AdapterEntry {
    /// The entry of an adapter.
    pub const fn of<A: Adapter>() -> Self {
        Self { id: A::ID, takes: A::takes, draft: A::draft, open: Opened::<A>::open }
    }
}

pub(super) extern "C" fn takes<P: Plugin>(id: RStr<'_>) -> Reply<RString> {
    guard::call(|| {
        let entry = find(P::ADAPTERS, "adapter", id.as_str(), |entry| entry.id)?;
        Ok(serde_json::to_string(&(entry.takes)())?.into())
    })
}

pub(super) extern "C" fn draft<P: Plugin>(
    id: RStr<'_>,
    signature: RStr<'_>,
    directory: RSlice<'_, u8>,
) -> Reply<RString> {
    guard::call(|| {
        let entry = find(P::ADAPTERS, "adapter", id.as_str(), |entry| entry.id)?;
        let directory = Path::new(OsStr::from_bytes(directory.as_slice()));
        let draft = (entry.draft)(&serde_json::from_str(signature.as_str())?, directory)?;
        Ok(serde_json::to_string(&draft)?.into())
    })
}

pub(super) extern "C" fn open<P: Plugin>(
    id: RStr<'_>,
    spec: RStr<'_>,
    services: &ServicesRef<'_>,
) -> Reply<AdapterBox> {
    guard::call(|| {
        let entry = find(P::ADAPTERS, "adapter", id.as_str(), |entry| entry.id)?;
        let spec = serde_json::from_str(spec.as_str())?;
        let services = Services::from_abi(services);
        budget::within(services.threads(), || (entry.open)(&spec, &services))
    })
}

/// An opened adapter that can be poisoned, and whose drop cannot harm.
struct Opened<A: Adapter> {
    adapter: ManuallyDrop<A>,
    poisoned: AtomicBool,
}

impl<A: Adapter> Opened<A> {
    fn open(spec: &EncoderSpec, services: &Services<'_>) -> Result<AdapterBox> {
        let adapter = ManuallyDrop::new(A::open(spec, services)?);
        let opened = Self { adapter, poisoned: AtomicBool::new(false) };
        Ok(AdapterObject_TO::from_value(opened, TD_Opaque))
    }

    /// A guarded call, refused after a panic: what the panic left half-done is not to be trusted.
    fn call<T>(&self, work: impl FnOnce(&A) -> Result<T>) -> Reply<T> {
        if self.poisoned.load(Ordering::Acquire) {
            let message = "this adapter panicked earlier and takes no more calls; open it anew";
            return Err(super::to_abi(Error::new(Code::POISONED, message))).into();
        }
        let reply = guard::call(|| work(&self.adapter));
        if matches!(&reply, RErr(e) if e.code == Code::PANICKED) {
            self.poisoned.store(true, Ordering::Release);
        }
        reply
    }
}

impl<A: Adapter> AdapterObject for Opened<A> {
    fn inputs(&self) -> Reply<RString> {
        self.call(|adapter| Ok(serde_json::to_string(&adapter.inputs())?.into()))
    }

    fn prepare(&self, item: RawItem<'_>) -> Reply<RVec<OwnedTensor>> {
        self.call(|adapter| {
            let tensors = adapter.prepare(self::item(item)?)?;
            // Not `collect`: it cannot see through `Result` how much room to make, and this is called once per item.
            let mut given = RVec::with_capacity(tensors.len());
            for tensor in tensors {
                given.push(tensor::give(tensor)?);
            }
            Ok(given)
        })
    }

    fn rows(&self) -> Reply<ROption<u64>> {
        self.call(|adapter| Ok(adapter.rows().map(|rows| rows as u64).into()))
    }

    fn tail(&self) -> Reply<RVec<u8>> {
        self.call(|adapter| Ok(adapter.tail()?.to_bytes()?.into()))
    }
}

impl<A: Adapter> Drop for Opened<A> {
    fn drop(&mut self) {
        // SAFETY: the field is dropped here and nowhere else, and not used again.
        guard::quietly(|| unsafe { ManuallyDrop::drop(&mut self.adapter) });
    }
}

fn item(raw: RawItem<'_>) -> Result<Item<'_>> {
    let bytes = raw.bytes.as_slice();
    match raw.kind {
        ItemKind::PATH => Ok(Item::Path(Path::new(OsStr::from_bytes(bytes)))),
        ItemKind::TEXT => Ok(Item::Text(std::str::from_utf8(bytes)?)),
        ItemKind::ROW => Ok(Item::Row(usize::try_from(raw.row)?)),
        ItemKind(kind) => {
            Err(Error::unsupported(format!("items of kind {kind} are newer than this plugin; rebuild it")))
        }
    }
}
