//! Bringing ONNX Runtime: the official build, through the user's own package tool, checked by hash, into the
//! user cache.
//!
//! Why through pip, uv or npm: they already know the user's mirrors, proxies and credentials, and this crate
//! then needs no network code and names no host. What they bring is one pinned archive per system
//! ([`builds`]); it is used only when its sha256 is the one in that table. Only the shared libraries and the
//! licence texts are kept. The folder is made under a temporary name and renamed, so a killed install leaves
//! no half engine. Installing twice does nothing.

mod builds;
mod download;
mod tool;
mod unpack;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use tool::Tool;

use crate::cuda::CudaLibraries;
use crate::library::{candidates, inspect};
use crate::{Error, Result, cache_folder};

/// What to install, with what, and where to.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// The build that can use an NVIDIA GPU (it serves the CPU as well, and is ten times larger).
    pub cuda: bool,
    /// The package tool; the first one present when none is given.
    pub tool: Option<Tool>,
    /// The folder of engines; the user cache when none is given.
    pub cache: Option<PathBuf>,
}

/// What an install left.
#[derive(Debug, Clone)]
pub struct Installed {
    /// The library.
    pub path: PathBuf,
    /// The version of ONNX Runtime.
    pub version: &'static str,
    /// The tool that brought it; none when it was there already.
    pub tool: Option<Tool>,
    /// What is still missing before it can be used, one sentence each (CUDA libraries).
    pub missing: Vec<String>,
}

/// Brings the pinned engine for this machine, or finds that it is there.
///
/// `say` is told each step. Takes seconds to minutes: the archives are 20 to 300 MB.
///
/// # Errors
/// No official build for this machine, no package tool, a tool that failed (with its command and last lines),
/// a wrong hash, a disk that is full or read-only.
pub fn install(options: &InstallOptions, say: &mut dyn FnMut(&str)) -> Result<Installed> {
    let cache = options
        .cache
        .clone()
        .or_else(cache_folder)
        .ok_or_else(|| Error::Install("no cache folder is known; set HOME or XDG_CACHE_HOME".into()))?;
    let tool = match options.tool {
        Some(tool) => Ok(tool),
        None => download::first_present(options.cuda),
    };
    // Whatever tool would bring it: an engine that is already there is enough.
    let wanted = match tool {
        Ok(tool) => vec![builds::find(tool, options.cuda)?],
        Err(_) => Tool::ALL.iter().filter_map(|t| builds::find(*t, options.cuda).ok()).collect(),
    };
    for build in &wanted {
        if let Some(path) = present(&cache.join(build.folder())) {
            say(&format!("ONNX Runtime {} is already at {}", build.version, path.display()));
            return Ok(finish(options, path, build.version, None));
        }
    }
    let tool = tool?;
    let build = builds::find(tool, options.cuda)?;
    let path = bring(&build, tool, &cache, say)?;
    Ok(finish(options, path, build.version, Some(tool)))
}

fn finish(options: &InstallOptions, path: PathBuf, version: &'static str, tool: Option<Tool>) -> Installed {
    let missing =
        if options.cuda { CudaLibraries::search().complaint().into_iter().collect() } else { Vec::new() };
    Installed { path, version, tool, missing }
}

/// The sound library of an installed folder.
fn present(folder: &Path) -> Option<PathBuf> {
    candidates(folder).into_iter().find(|file| inspect(file).is_ok())
}

fn bring(build: &builds::Build, tool: Tool, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    std::fs::create_dir_all(cache).map_err(Error::io("make the folder", cache))?;
    let work = tempfile::Builder::new()
        .prefix(".install-")
        .tempdir_in(cache)
        .map_err(Error::io("make a folder in", cache))?;
    let archives = work.path().join("archive");
    std::fs::create_dir(&archives).map_err(Error::io("make the folder", &archives))?;
    say(&format!("{tool} brings {} {} ...", build.package, build.version));
    let archive = download::download(build, tool, &archives)?;
    let hash = sha256(&archive)?;
    if hash != build.sha256 {
        return Err(Error::Install(format!(
            "{} {} as {tool} brought it has sha256 {hash}, expected {}: it is not the official archive, and \
             nothing \
             of it was used",
            build.package, build.version, build.sha256
        )));
    }
    let ready = work.path().join("ready");
    std::fs::create_dir(&ready).map_err(Error::io("make the folder", &ready))?;
    unpack::unpack(&archive, build, &ready)?;
    let home = cache.join(build.folder());
    if home.exists() && present(&home).is_none() {
        // Left by a damaged disk or a curious hand: it holds no engine that could serve.
        std::fs::remove_dir_all(&home).map_err(Error::io("replace", &home))?;
    }
    if let Err(source) = std::fs::rename(&ready, &home)
        && present(&home).is_none()
    {
        return Err(Error::Io { doing: "write", path: home, source });
    }
    present(&home).ok_or_else(|| {
        Error::Install(format!(
            "{} {} holds no library that this machine can load",
            build.package, build.version
        ))
    })
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(Error::io("read", path))?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
