//! Implements `chiasm.adapter/1` with the [`Adapter`](crate::Adapter)s of a plugin.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use chiasm_abi::stable::{RSlice, RStr, RString};
use chiasm_abi::{AdapterBox, Reply, ServicesRef};

use super::{
    entries::{Plugin, find},
    guard, thread_pool,
};
use crate::Services;

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
        thread_pool::run_with(services.threads(), || (entry.open)(&spec, &services))
    })
}
