//! The load pipeline, from a file to callable modules. The documentation of the crate lists the steps.

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

/// The largest accepted file, in bytes.
const MAX_FILE_SIZE: u64 = 1 << 30;

/// The modules of a loaded library. It is never unloaded.
#[derive(Clone, Copy)]
pub(crate) struct LoadedModules {
    root: Root_Ref,
    pub adapters: Option<AdapterModule_Ref>,
    pub aligners: Option<AlignerModule_Ref>,
    pub fusions: Option<FusionModule_Ref>,
    pub sha256: [u8; 32],
}

impl LoadedModules {
    /// Refuses further calls, and returns when the active calls have ended.
    pub(crate) fn quiesce(&self) {
        self.root.quiesce()();
    }
}

/// Reads the manifest from the ELF section; `None` for a valid library without a record.
pub(crate) fn read_manifest(path: &Path) -> Result<Option<Manifest>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let length = file.metadata().map_err(|e| e.to_string())?;
    if !length.is_file() {
        return Err("it is not a file".into());
    }
    check_size(length.len())?;
    let cache = ReadCache::new(file);
    let section = elf::section(&cache, record::SECTION)?;
    section.map(|section| Manifest::from_section(section).map(|(manifest, _)| manifest)).transpose()
}

/// Returns the reason for refusing a library without a record.
pub(crate) fn not_a_plugin() -> String {
    format!(
        "it is not a Chiasm plugin: it has no `{}` section, which export_plugin! creates",
        record::SECTION
    )
}

/// Runs the whole load pipeline.
pub(crate) fn load(tag: &Arc<PluginTag>) -> Result<LoadedModules> {
    let fail = |code, phase, message: String| HostError::new(code, phase, message).of(tag);
    let bytes = read(&tag.path).map_err(|e| fail(Code::INVALID, Phase::Read, e))?;
    let sha256 = Sha256::digest(&bytes).into();
    let (manifest, json) = checked(&bytes).map_err(|e| fail(Code::INVALID, Phase::Manifest, e))?;
    if (&manifest.id, &manifest.version) != (&tag.id, &tag.version) {
        let now =
            format!("the file changed after it was found: it is now {} {}", manifest.id, manifest.version);
        return Err(fail(Code::INVALID, Phase::Manifest, now));
    }
    let copy = private_copy(&bytes, &manifest.id).map_err(|e| fail(Code::OTHER, Phase::Load, e))?;
    let header = open(&copy, &manifest.root).map_err(|e| fail(Code::INVALID, Phase::Load, e))?;
    // The loader identifies a library by this descriptor's name, so the descriptor must stay open.
    std::mem::forget(copy);
    let mismatch = |what: &str, e: compat::LayoutMismatch| {
        let message =
            format!("the layout of its {what} is not compatible with the host: {e}; rebuild the plugin");
        fail(Code::INVALID, Phase::Load, message).with_detail(e.full)
    };
    let root = checked_root(header).map_err(|e| mismatch("root module", e))?;
    let root = root.map_err(|e| fail(Code::OTHER, Phase::Load, e))?;
    if root.describe()().as_str() != json {
        let message =
            "the manifest of the loaded library differs from the one in the file; rebuild the plugin"
                .to_owned();
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
        return Err(format!("expected at most {MAX_FILE_SIZE} bytes, got a file of {length}"));
    }
    Ok(())
}

/// Reads the file. The bytes that are checked are those that will run.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    // One byte more than the maximum detects a file that is too large.
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

/// Returns a sealed copy in memory, which cannot be changed.
fn private_copy(bytes: &[u8], name: &str) -> Result<OwnedFd, String> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not support EXEC; later ones may require it.
    let copy = rustix::fs::memfd_create(format!("chiasm-{name}"), flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(format!("chiasm-{name}"), flags))
        .map_err(|e| format!("cannot create a memory file for a private copy: {e}"))?;
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

/// Opens the library and returns the header that the manifest names.
fn open(copy: &OwnedFd, symbol: &str) -> Result<&'static LibHeader, String> {
    let name = format!("/proc/self/fd/{}", copy.as_raw_fd());
    if let Err(e) = fs::metadata(&name) {
        return Err(format!("plugins are opened through /proc/self/fd, which is not available: {e}"));
    }
    #[expect(unsafe_code, reason = "opening a library runs its code")]
    // SAFETY: the file passed the structure and compatibility checks. Its initialisers cannot be checked.
    let library = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|e| format!("the system's loader refused it: {}", cause(&e)))?;
    let library = std::mem::ManuallyDrop::new(library); // never unloaded
    #[expect(unsafe_code, reason = "the type of a symbol cannot be checked")]
    // SAFETY: export_plugin! makes this symbol a `LibHeader`. Its first bytes are compared with abi_stable's
    // before more is read.
    let header = unsafe { library.get::<AbiHeaderRef>(symbol.as_bytes()) }
        .map_err(|e| format!("it has no root symbol `{symbol}`: {}", cause(&e)))?;
    let header: AbiHeaderRef = *header;
    if !header.is_valid() {
        return Err(format!(
            "it was built with another version of abi_stable ({}.{}); rebuild it with this chiasm-plugin",
            header.abi_major, header.abi_minor
        ));
    }
    header.upgrade().map_err(|e| format!("its C calling convention differs: {e}"))
}

fn checked_root(header: &'static LibHeader) -> Result<Result<Root_Ref, String>, compat::LayoutMismatch> {
    let Some(theirs) = header.layout() else {
        return Ok(Err("it has no layout to check; rebuild the plugin".into()));
    };
    compat::check(<Root_Ref as chiasm_abi::stable::StableAbi>::LAYOUT, theirs)?;
    #[expect(unsafe_code, reason = "the layout has been checked above")]
    // SAFETY: one layout extends the other.
    let root = unsafe { header.init_root_module_with_unchecked_layout::<Root_Ref>() };
    Ok(root.map_err(|e| format!("its root module cannot be created: {e}")))
}

/// Returns an extension if the manifest lists it and the library has it. A missing one is reported when it is
/// used.
fn extension<M: ExtensionModule>(root: Root_Ref, offered: bool) -> Result<Option<M>, compat::LayoutMismatch> {
    if !offered {
        return Ok(None);
    }
    match root.query()(M::ID.into()) {
        ROption::RNone => Ok(None),
        ROption::RSome(extension) => extension.checked::<M>().map(|(module, _)| Some(module)),
    }
}

/// Returns the message of the loader.
fn cause(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
