//! The load pipeline: from a file to callable modules. The crate's documentation lists the steps.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use chiasm_abi::stable::{AbiHeaderRef, LibHeader, ROption};
use chiasm_abi::{
    AdapterModule_Ref, AlignerModule_Ref, Code, ExtensionModule, FusionModule_Ref, Root_Ref, compat, record,
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use object::read::ReadCache;
use rustix::fs::{MemfdFlags, SealFlags};
use sha2::{Digest, Sha256};

use crate::{HostError, Manifest, Phase, PluginTag, Result, elf};

/// No plugin is larger.
const MAX_FILE_SIZE: u64 = 1 << 30;

/// A library in this process, for good.
#[derive(Clone, Copy)]
pub(crate) struct LoadedModules {
    root: Root_Ref,
    pub adapters: Option<AdapterModule_Ref>,
    pub aligners: Option<AlignerModule_Ref>,
    pub fusions: Option<FusionModule_Ref>,
    pub sha256: [u8; 32],
}

impl LoadedModules {
    /// Lets calls under way end, and takes no more.
    pub(crate) fn quiesce(&self) {
        self.root.quiesce()();
    }
}

/// Reads only the ELF section; `None` for a sound library without a record.
pub(crate) fn read_manifest(path: &Path) -> Result<Option<Manifest>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let length = file.metadata().map_err(|e| e.to_string())?;
    if !length.is_file() {
        return Err("it is no file".into());
    }
    check_size(length.len())?;
    let cache = ReadCache::new(file);
    let section = elf::section(&cache, record::SECTION)?;
    section.map(|section| Manifest::from_section(section).map(|(manifest, _)| manifest)).transpose()
}

/// Why a library without a record is refused.
pub(crate) fn not_a_plugin() -> String {
    format!("it is no Chiasm plugin: it has no `{}` section (export_plugin! makes it)", record::SECTION)
}

/// The whole pipeline.
pub(crate) fn load(tag: &Arc<PluginTag>) -> Result<LoadedModules> {
    let fail = |code, phase, message: String| HostError::new(code, phase, message).of(tag);
    let bytes = read(&tag.path).map_err(|e| fail(Code::INVALID, Phase::Read, e))?;
    let sha256 = Sha256::digest(&bytes).into();
    let (manifest, json) = checked(&bytes).map_err(|e| fail(Code::INVALID, Phase::Manifest, e))?;
    if (&manifest.id, &manifest.version) != (&tag.id, &tag.version) {
        let now =
            format!("the file changed since it was found: it is now {} {}", manifest.id, manifest.version);
        return Err(fail(Code::INVALID, Phase::Manifest, now));
    }
    let copy = private_copy(&bytes, &manifest.id).map_err(|e| fail(Code::OTHER, Phase::Load, e))?;
    let header = open(&copy, &manifest.root).map_err(|e| fail(Code::INVALID, Phase::Load, e))?;
    // The loader finds a library again by its name, which is this descriptor's: it must never mean another file.
    std::mem::forget(copy);
    let mismatch = |what: &str, e: compat::LayoutMismatch| {
        let message = format!("the layout of its {what} and the host's do not fit: {e}; rebuild the plugin");
        fail(Code::INVALID, Phase::Load, message).with_detail(e.full)
    };
    let root = checked_root(header).map_err(|e| mismatch("root module", e))?;
    let root = root.map_err(|e| fail(Code::OTHER, Phase::Load, e))?;
    if root.describe()().as_str() != json {
        let message = "what it says of itself differs from the manifest in its file".to_owned();
        return Err(fail(Code::INVALID, Phase::Load, message));
    }
    let offers = |kind: &str| manifest.provides.iter().any(|one| one.kind == kind);
    Ok(LoadedModules {
        root,
        adapters: extension(root, offers("adapter")).map_err(|e| mismatch("adapters", e))?,
        aligners: extension(root, offers("aligner")).map_err(|e| mismatch("aligners", e))?,
        fusions: extension(root, offers("fusion")).map_err(|e| mismatch("fusions", e))?,
        sha256,
    })
}

fn check_size(length: u64) -> Result<(), String> {
    if length > MAX_FILE_SIZE {
        return Err(format!("it has {length} bytes; no plugin may have more than {MAX_FILE_SIZE}"));
    }
    Ok(())
}

/// The file, read once: whatever is checked from here on is what will run.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    // One byte above the cap tells a growing file from one that just fits.
    file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    check_size(bytes.len() as u64)?;
    Ok(bytes)
}

fn checked(bytes: &[u8]) -> Result<(Manifest, String), String> {
    let section = elf::section(bytes, record::SECTION)?.ok_or_else(not_a_plugin)?;
    let (manifest, json) = Manifest::from_section(section)?;
    manifest.check_compatibility()?;
    elf::check(bytes)?;
    Ok((manifest, json))
}

/// A copy in memory that nobody can change any more.
fn private_copy(bytes: &[u8], name: &str) -> Result<OwnedFd, String> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know EXEC; later ones may be set to insist on it.
    let copy = rustix::fs::memfd_create(format!("chiasm-{name}"), flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(format!("chiasm-{name}"), flags))
        .map_err(|e| format!("no memory file for a private copy: {e}"))?;
    let mut file = File::from(copy);
    file.write_all(bytes).map_err(|e| format!("cannot make a private copy: {e}"))?;
    let copy = OwnedFd::from(file);
    rustix::fs::fcntl_add_seals(
        &copy,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
    )
    .map_err(|e| format!("cannot seal the private copy: {e}"))?;
    Ok(copy)
}

/// dlopen, and the header that the manifest names.
fn open(copy: &OwnedFd, symbol: &str) -> Result<&'static LibHeader, String> {
    let name = format!("/proc/self/fd/{}", copy.as_raw_fd());
    if let Err(e) = fs::metadata(&name) {
        return Err(format!("plugins are opened through /proc/self/fd, which is not there: {e}"));
    }
    #[expect(unsafe_code, reason = "opening a library runs its code")]
    // SAFETY: the file passed the structure checks and the gates; what its initialisers do is beyond any check.
    let library = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|e| format!("the system's loader refuses it: {}", cause(&e)))?;
    let library = std::mem::ManuallyDrop::new(library); // never unloaded
    #[expect(unsafe_code, reason = "a symbol's type is the manifest's word")]
    // SAFETY: export_plugin! makes this symbol a `LibHeader`; its first bytes are compared with abi_stable's before more is read.
    let header = unsafe { library.get::<AbiHeaderRef>(symbol.as_bytes()) }
        .map_err(|e| format!("it lacks its root symbol `{symbol}`: {}", cause(&e)))?;
    let header: AbiHeaderRef = *header;
    if !header.is_valid() {
        return Err(format!(
            "it was built with another abi_stable ({}.{}); rebuild it against this release's chiasm-plugin",
            header.abi_major, header.abi_minor
        ));
    }
    header.upgrade().map_err(|e| format!("its C calling convention differs: {e}"))
}

fn checked_root(header: &'static LibHeader) -> Result<Result<Root_Ref, String>, compat::LayoutMismatch> {
    let Some(theirs) = header.layout() else { return Ok(Err("it carries no layout to check".into())) };
    compat::check(<Root_Ref as chiasm_abi::stable::StableAbi>::LAYOUT, theirs)?;
    #[expect(unsafe_code, reason = "the layout check is the one above")]
    // SAFETY: one layout extends the other.
    let root = unsafe { header.init_root_module_with_unchecked_layout::<Root_Ref>() };
    Ok(root.map_err(|e| format!("its root module did not come up: {e}")))
}

/// The extension, when it was promised and is there. A promise not kept shows when something of it is asked for.
fn extension<M: ExtensionModule>(root: Root_Ref, offered: bool) -> Result<Option<M>, compat::LayoutMismatch> {
    if !offered {
        return Ok(None);
    }
    match root.query()(M::ID.into()) {
        ROption::RNone => Ok(None),
        ROption::RSome(extension) => extension.checked::<M>().map(|(module, _)| Some(module)),
    }
}

/// The loader's own words.
fn cause(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
