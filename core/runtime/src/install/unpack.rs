//! Extracts the shared libraries and the licence texts of an archive into one folder.
//!
//! Only entries accepted by [`wanted`] are written, under the last part of their path, so an archive cannot
//! write outside the folder.

use std::fs::File;
use std::io::{Read, copy};
use std::path::Path;

use super::builds::EngineBuild;
use crate::library::is_engine_name;
use crate::{Error, Result};

pub(super) fn unpack(archive: &Path, build: &EngineBuild, folder: &Path) -> Result<()> {
    let file = chiasm_graph::open_file(archive, u64::MAX).map_err(Error::io("read", archive))?;
    let broken =
        |e: &dyn std::fmt::Display| Error::Install(format!("{} cannot be unpacked: {e}", archive.display()));
    if archive.extension().is_some_and(|e| e == "whl") {
        let mut zip = zip::ZipArchive::new(file).map_err(|e| broken(&e))?;
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).map_err(|e| broken(&e))?;
            let path = entry.name().map_err(|e| broken(&e))?.into_owned();
            if let Some(name) = wanted(&path, build) {
                write(&mut entry, &folder.join(name))?;
            }
        }
    } else {
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
        for entry in tar.entries().map_err(|e| broken(&e))? {
            let mut entry = entry.map_err(|e| broken(&e))?;
            let path = entry.path().map_err(|e| broken(&e))?.to_string_lossy().into_owned();
            if let Some(name) = wanted(&path, build) {
                write(&mut entry, &folder.join(name))?;
            }
        }
    }
    Ok(())
}

/// Returns the file name under which an entry is kept; `None` for an entry that is not needed.
fn wanted(entry: &str, build: &EngineBuild) -> Option<String> {
    let name = entry.rsplit('/').next()?;
    let library = || {
        let provider = ["providers_shared", "providers_cuda"].iter().any(|p| name.contains(p));
        entry.starts_with(build.inside) && (is_engine_name(name) || provider)
    };
    let licence = || ["LICENSE", "ThirdPartyNotices.txt"].contains(&name);
    (!name.is_empty() && (library() || licence())).then(|| name.to_owned())
}

fn write(from: &mut impl Read, path: &Path) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io("write", path))?;
    copy(from, &mut file).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("write", path))
}
