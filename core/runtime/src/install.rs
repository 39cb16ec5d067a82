//! Installs ONNX Runtime: downloads the official build with the user's package tool, checks its hash, unpacks
//! it into the user cache.
//!
//! pip, uv and npm already know the user's mirrors, proxies and credentials, so this crate needs no network
//! code and names no host. They download one pinned archive per system ([`builds`]), which is used only when
//! its sha256 is the one in that table. Only the shared libraries and the licence texts are kept. The folder
//! is created under a temporary name and renamed, so a killed install leaves no incomplete engine. Installing
//! again does nothing.

mod builds;
mod download;
mod tool;
mod unpack;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use tool::PackageTool;

use crate::cuda::CudaLibraries;
use crate::library::{candidates, inspect};
use crate::{Error, Result, cache_folder};

/// What to install, with which tool, and where.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// The build that can use an NVIDIA GPU (it serves the CPU as well, and is ten times larger).
    pub cuda: bool,
    /// The package tool; `None` takes the first one present.
    pub tool: Option<PackageTool>,
    /// The folder of engines; `None` takes the user cache.
    pub cache: Option<PathBuf>,
}

/// An installed engine.
#[derive(Debug, Clone)]
pub struct InstalledEngine {
    /// The library.
    pub path: PathBuf,
    /// The version of ONNX Runtime.
    pub version: &'static str,
    /// The tool that downloaded it; `None` when it was installed already.
    pub tool: Option<PackageTool>,
    /// What is still missing before it can be used (CUDA libraries), one sentence each.
    pub missing: Vec<String>,
}

/// Installs the pinned engine for this machine unless it is installed already.
///
/// `report` is called with a line about each step. The archives are 20 to 300 MB.
///
/// # Errors
/// [`Error::Install`] when there is no official build for this machine or no package tool, when the tool
/// fails (with its command and last lines), or when the hash is wrong; [`Error::Io`] when the disk is full or
/// read-only.
///
/// # Examples
/// ```no_run
/// use chiasm_runtime::{InstallOptions, install};
///
/// let installed = install(&InstallOptions::default(), &mut |line| println!("{line}"))?;
/// println!("ONNX Runtime {} at {}", installed.version, installed.path.display());
/// # Ok::<(), chiasm_runtime::Error>(())
/// ```
pub fn install(options: &InstallOptions, report: &mut dyn FnMut(&str)) -> Result<InstalledEngine> {
    let cache = options
        .cache
        .clone()
        .or_else(cache_folder)
        .ok_or_else(|| Error::Install("no cache folder is known; set HOME or XDG_CACHE_HOME".into()))?;
    let tool = match options.tool {
        Some(tool) => Ok(tool),
        None => download::first_present(options.cuda),
    };
    // An engine that is already installed is enough, whichever tool would download it.
    let wanted = match tool {
        Ok(tool) => vec![builds::find(tool, options.cuda)?],
        Err(_) => PackageTool::ALL.iter().filter_map(|t| builds::find(*t, options.cuda).ok()).collect(),
    };
    for build in &wanted {
        if let Some(path) = present(&cache.join(build.folder())) {
            report(&format!("ONNX Runtime {} is already at {}", build.version, path.display()));
            return Ok(finish(options, path, build.version, None));
        }
    }
    let tool = tool?;
    let build = builds::find(tool, options.cuda)?;
    let path = download_and_unpack(&build, tool, &cache, report)?;
    Ok(finish(options, path, build.version, Some(tool)))
}

fn finish(
    options: &InstallOptions,
    path: PathBuf,
    version: &'static str,
    tool: Option<PackageTool>,
) -> InstalledEngine {
    let missing = if options.cuda {
        CudaLibraries::search().missing_message().into_iter().collect()
    } else {
        Vec::new()
    };
    InstalledEngine { path, version, tool, missing }
}

/// Returns the usable library of an installed folder.
fn present(folder: &Path) -> Option<PathBuf> {
    candidates(folder).into_iter().find(|file| inspect(file).is_ok())
}

fn download_and_unpack(
    build: &builds::EngineBuild,
    tool: PackageTool,
    cache: &Path,
    report: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    std::fs::create_dir_all(cache).map_err(Error::io("make the folder", cache))?;
    let work = tempfile::Builder::new()
        .prefix(".install-")
        .tempdir_in(cache)
        .map_err(Error::io("make a folder in", cache))?;
    let archives = work.path().join("archive");
    std::fs::create_dir(&archives).map_err(Error::io("make the folder", &archives))?;
    report(&format!("{tool} downloads {} {} ...", build.package, build.version));
    let archive = download::download(build, tool, &archives)?;
    let hash = sha256(&archive)?;
    if hash != build.sha256 {
        return Err(Error::Install(format!(
            "{} {}, downloaded by {tool}, has sha256 {hash}, expected {}: it is not the official archive, \
             and it was not used",
            build.package, build.version, build.sha256
        )));
    }
    let ready = work.path().join("ready");
    std::fs::create_dir(&ready).map_err(Error::io("make the folder", &ready))?;
    unpack::unpack(&archive, build, &ready)?;
    let home = cache.join(build.folder());
    if home.exists() && present(&home).is_none() {
        // The folder was damaged or edited: it has no usable engine.
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
    let mut file = chiasm_graph::open_file(path, u64::MAX).map_err(Error::io("read", path))?;
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
