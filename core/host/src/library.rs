//! Libraries of plugins: the sealed copy of a file, and the library that is loaded from it. The documentation
//! of the crate lists the steps.

use std::fs::{self, File};
use std::io::Read;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chiasm_abi::stable::{AbiHeaderRef, LibHeader, RErr, ROption, RSlice, RStr, RString};
use chiasm_abi::{
    AdapterBox, AdapterModule_Ref, AlignerModule_Ref, Code, ExtensionModule, FitJob, FusionModule_Ref,
    Outcome, PluginError, Reply, Root_Ref, compat, record,
};
use chiasm_plugin::open_file;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use memmap2::{Mmap, MmapOptions};
use object::read::ReadCache;
use rustix::fs::{MemfdFlags, SealFlags};
use sha2::{Digest, Sha256};

use crate::c_interface::CPlugin;
use crate::c_library::CLibrary;
use crate::calls::{CallContext, ComponentKind, PluginCalls, Question};
use crate::manifest::Interface;
use crate::trust::{self, PluginLock, PluginTrust};
use crate::{HostError, Manifest, Phase, PluginTag, Result, elf};

/// The largest accepted file, in bytes.
const MAX_FILE_SIZE: u64 = 1 << 30;

/// How long the kernel may refuse to seal a copy, and the time between two tries.
const SEAL_TIME: Duration = Duration::from_secs(10);
const SEAL_WAIT: Duration = Duration::from_millis(5);

/// The seals of a copy: nothing can change it any more.
const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE).union(SealFlags::SEAL);

/// A plugin that runs in this process. Its library is never unloaded.
pub(crate) struct LoadedLibrary {
    root: Root_Ref,
    adapters: Option<AdapterModule_Ref>,
    aligners: Option<AlignerModule_Ref>,
    fusions: Option<FusionModule_Ref>,
}

/// A sealed copy of a plugin's file: what was checked is what will run.
pub(crate) struct SealedLibrary {
    copy: OwnedFd,
    /// The manifest, and its text in the file.
    pub(crate) manifest: Manifest,
    json: String,
}

/// Reads the manifest from the ELF section; `None` for a valid library without a record.
pub(crate) fn read_manifest(path: &Path) -> Result<Option<Manifest>, String> {
    let file = open_file(path, MAX_FILE_SIZE).map_err(|e| e.to_string())?;
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

impl SealedLibrary {
    /// Copies the file of a plugin, seals the copy and checks its manifest. Returns the SHA-256 digest too.
    pub(crate) fn read(tag: &Arc<PluginTag>) -> Result<(Self, [u8; 32])> {
        let fail = |code, phase, message: String| HostError::new(code, phase, message).of(tag);
        let file = open_file(&tag.path, MAX_FILE_SIZE)
            .map_err(|e| fail(Code::INVALID, Phase::Read, e.to_string()))?;
        let copy = private_copy(file, &tag.id).map_err(|e| fail(Code::OTHER, Phase::Load, e))?;
        let bytes = map(&copy).map_err(|e| fail(Code::OTHER, Phase::Load, e))?;
        let (manifest, json) = checked(&bytes).map_err(|e| fail(Code::INVALID, Phase::Manifest, e))?;
        if (&manifest.id, &manifest.version) != (&tag.id, &tag.version) {
            let now = format!(
                "the file changed after it was found: it is now {} {}",
                manifest.id, manifest.version
            );
            return Err(fail(Code::INVALID, Phase::Manifest, now));
        }
        Ok((Self { copy, manifest, json }, Sha256::digest(&bytes).into()))
    }

    /// Returns the copy that another process sealed.
    pub(crate) fn received(copy: OwnedFd) -> Result<Self> {
        let fail = |message: String| HostError::new(Code::INVALID, Phase::Load, message);
        let bytes = map(&copy).map_err(fail)?;
        let (manifest, json) = checked(&bytes).map_err(fail)?;
        Ok(Self { copy, manifest, json })
    }

    /// Returns a further descriptor of the copy.
    pub(crate) fn descriptor(&self) -> std::io::Result<OwnedFd> {
        self.copy.try_clone()
    }

    /// Looks the digest up in the lock file and checks the signature beside the plugin's file.
    pub(crate) fn trust(
        &self,
        tag: &Arc<PluginTag>,
        sha256: &[u8; 32],
        lock: Option<&PluginLock>,
    ) -> Result<PluginTrust> {
        let copy = self.copy.try_clone().map_err(|e| {
            HostError::new(Code::OTHER, Phase::Read, format!("cannot read its sealed copy: {e}")).of(tag)
        })?;
        Ok(trust::examine(lock, tag, sha256, File::from(copy)))
    }

    /// Loads the library into this process.
    pub(crate) fn load(self, tag: &Arc<PluginTag>) -> Result<Arc<dyn PluginCalls>> {
        let fail = |code, message: String| HostError::new(code, Phase::Load, message).of(tag);
        let opened = match self.manifest.interface {
            Interface::C => open_c(&self.copy, &self.manifest.root).map(Opened::C),
            Interface::Rust => open(&self.copy, &self.manifest.root).map(Opened::Rust),
        };
        let opened = opened.map_err(|e| fail(Code::INVALID, e))?;
        // The loader identifies a library by this descriptor's name, so the descriptor must stay open.
        std::mem::forget(self.copy);
        let header = match opened {
            Opened::Rust(header) => header,
            Opened::C(table) => {
                return CLibrary::new(table).map_err(|e| fail(Code::INVALID, e)).map(|c| Arc::new(c) as _);
            }
        };
        let mismatch = |what: &str, e: compat::LayoutMismatch| {
            let message =
                format!("the layout of its {what} is not compatible with the host: {e}; rebuild the plugin");
            fail(Code::INVALID, message).with_detail(e.full)
        };
        let root = checked_root(header).map_err(|e| mismatch("root module", e))?;
        let root = root.map_err(|e| fail(Code::OTHER, e))?;
        if root.describe()().as_str() != self.json {
            let message =
                "the manifest of the loaded library differs from the one in the file; rebuild the plugin";
            return Err(fail(Code::INVALID, message.to_owned()));
        }
        let offers = |kind: &str| self.manifest.provides.iter().any(|one| one.kind == kind);
        Ok(Arc::new(LoadedLibrary {
            root,
            adapters: extension(root, offers("adapter")).map_err(|e| mismatch("adapters", e))?,
            aligners: extension(root, offers("aligner")).map_err(|e| mismatch("aligners", e))?,
            fusions: extension(root, offers("fusion")).map_err(|e| mismatch("fusions", e))?,
        }))
    }
}

/// The root symbol of an opened library.
enum Opened {
    Rust(&'static LibHeader),
    C(&'static CPlugin),
}

impl PluginCalls for LoadedLibrary {
    fn offers(&self, kind: ComponentKind) -> bool {
        match kind {
            ComponentKind::Adapter => self.adapters.is_some(),
            ComponentKind::Aligner => self.aligners.is_some(),
            ComponentKind::Fusion => self.fusions.is_some(),
        }
    }

    fn ask(&self, question: Question, id: RStr<'_>, argument: RStr<'_>) -> Reply<RString> {
        match question {
            Question::AdapterTakes => with(self.adapters, |module| module.takes()(id)),
            Question::AlignerParameters => with(self.aligners, |module| module.parameters()(id)),
            Question::AlignerTakes => with(self.aligners, |module| module.takes()(id, argument)),
            Question::FusionParameters => with(self.fusions, |module| module.parameters()(id)),
            Question::FusionNeeds => with(self.fusions, |module| module.needs()(id, argument)),
        }
    }

    fn draft(&self, id: RStr<'_>, signature: RStr<'_>, directory: &[u8]) -> Reply<RString> {
        with(self.adapters, |module| module.draft()(id, signature, RSlice::from_slice(directory)))
    }

    fn open(&self, id: RStr<'_>, spec: RStr<'_>, context: CallContext<'_, '_>) -> Reply<AdapterBox> {
        with(self.adapters, |module| module.open()(id, spec, context.services))
    }

    fn fit(&self, kind: ComponentKind, job: FitJob<'_>, context: CallContext<'_, '_>) -> Reply<Outcome> {
        match kind {
            ComponentKind::Fusion => with(self.fusions, |module| module.fit()(job, context.services)),
            _ => with(self.aligners, |module| module.fit()(job, context.services)),
        }
    }

    fn quiesce(&self) {
        self.root.quiesce()();
    }
}

/// Calls a module, which the handles know to exist.
fn with<M, T>(module: Option<M>, call: impl FnOnce(M) -> Reply<T>) -> Reply<T> {
    match module {
        Some(module) => call(module),
        None => RErr(PluginError {
            code: Code::INVALID,
            message: "the library has no component of this kind; rebuild the plugin".into(),
            detail: RString::new(),
        }),
    }
}

fn checked(bytes: &[u8]) -> Result<(Manifest, String), String> {
    let section = elf::section(bytes, record::SECTION)?.ok_or_else(not_a_plugin)?;
    let (manifest, json) = Manifest::from_section(section)?;
    manifest.check_compatibility()?;
    elf::check_dependencies(bytes)?;
    Ok((manifest, json))
}

/// Returns a sealed copy in memory, which cannot be changed.
fn private_copy(file: File, name: &str) -> Result<OwnedFd, String> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not support EXEC; later ones may require it.
    let copy = rustix::fs::memfd_create(format!("chiasm-{name}"), flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(format!("chiasm-{name}"), flags))
        .map_err(|e| format!("cannot create a memory file for a private copy: {e}"))?;
    let mut copy = File::from(copy);
    // The kernel copies the bytes. A file that grows meanwhile is cut at the limit, and then refused.
    std::io::copy(&mut file.take(MAX_FILE_SIZE), &mut copy)
        .map_err(|e| format!("cannot make a private copy: {e}"))?;
    seal(&copy).map_err(|e| format!("cannot seal the private copy: {e}"))?;
    Ok(copy.into())
}

/// Seals a copy. The kernel refuses that while it holds a page itself, for example to look at its age, so a
/// refusal is waited out.
fn seal(copy: &File) -> rustix::io::Result<()> {
    let started = Instant::now();
    loop {
        match rustix::fs::fcntl_add_seals(copy, SEALS) {
            Err(rustix::io::Errno::BUSY) if started.elapsed() < SEAL_TIME => thread::sleep(SEAL_WAIT),
            other => return other,
        }
    }
}

/// Maps a sealed copy into memory.
fn map(copy: &OwnedFd) -> Result<Mmap, String> {
    let seals = rustix::fs::fcntl_get_seals(copy).map_err(|e| e.to_string())?;
    if !seals.contains(SEALS) {
        return Err("the copy of its library is not sealed".to_owned());
    }
    #[expect(unsafe_code, reason = "another process can change a mapped file")]
    // SAFETY: the file is sealed against writes and against shrinking.
    unsafe { MmapOptions::new().populate().map(copy) }
        .map_err(|e| format!("cannot map its private copy: {e}"))
}

/// Opens a library. It is never closed.
fn open_library(copy: &OwnedFd) -> Result<ManuallyDrop<Library>, String> {
    let name = format!("/proc/self/fd/{}", copy.as_raw_fd());
    if let Err(e) = fs::metadata(&name) {
        return Err(format!("plugins are opened through /proc/self/fd, which is not available: {e}"));
    }
    #[expect(unsafe_code, reason = "opening a library runs its code")]
    // SAFETY: the manifest says that the file is a plugin for this host. Its code and its initialisers cannot
    // be checked; a plugin that is not trusted is loaded in a process of its own.
    let library = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|e| format!("the system's loader refused it: {}", cause(&e)))?;
    Ok(ManuallyDrop::new(library))
}

/// Opens a library and returns the header that its manifest names.
fn open(copy: &OwnedFd, symbol: &str) -> Result<&'static LibHeader, String> {
    let library = open_library(copy)?;
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

/// Opens a library with the C interface and returns the table that its manifest names.
fn open_c(copy: &OwnedFd, symbol: &str) -> Result<&'static CPlugin, String> {
    let library = open_library(copy)?;
    #[expect(unsafe_code, reason = "the type of a symbol cannot be checked")]
    // SAFETY: the manifest says that this symbol is a `struct chiasm_plugin`, which lives as long as the
    // library. Its version and size are checked before more is read.
    let table = unsafe { library.get::<*const CPlugin>(symbol.as_bytes()) }
        .map_err(|e| format!("it has no root symbol `{symbol}`: {}", cause(&e)))?;
    let table: *const CPlugin = *table;
    #[expect(unsafe_code, reason = "the table is memory of the library")]
    // SAFETY: as above.
    Ok(unsafe { &*table })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_the_kernel_holds_for_a_moment_is_sealed_afterwards() {
        let mut copy = File::from(
            rustix::fs::memfd_create("held", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap(),
        );
        std::io::copy(&mut std::io::repeat(7).take(4096), &mut copy).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        // The pipe holds the page of the copy itself until it is read.
        let sent = rustix::fs::sendfile(&writer, &copy, Some(&mut 0), 4096).unwrap();
        assert_eq!(sent, 4096);
        assert_eq!(rustix::fs::fcntl_add_seals(&copy, SEALS), Err(rustix::io::Errno::BUSY));
        let read = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(writer);
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes.len()
        });
        seal(&copy).unwrap();
        assert_eq!(read.join().unwrap(), 4096);
        assert!(copy.set_len(1).is_err());
    }
}
