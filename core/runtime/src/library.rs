//! Checks whether a file is an ONNX Runtime that this process can load, without running any of its code.
//!
//! Loading the wrong library can crash the process (its constructors run), and `ort` panics on some of them.
//! So the file is parsed first: its format, its processor, the exported `OrtGetApiBase`, and its version
//! where the file states it. Refused are files that are not shared libraries, libraries for another
//! processor, libraries without that entry point, and versions older than the one `ort` was built for.

use std::path::{Path, PathBuf};

use object::read::NameOrOrdinal;
use object::{Object, ObjectKind, ObjectSection, ReadCache};

/// The function through which every ONNX Runtime exposes its API.
const ENTRY: &str = "OrtGetApiBase";

/// A parsed version: `1.31.1` is `[1, 31, 1]`.
pub(crate) type Version = Vec<u32>;

/// Checks a library file and returns its version where the file states it.
///
/// # Errors
/// One sentence that says what the file is instead.
pub(crate) fn inspect(path: &Path) -> Result<Option<String>, String> {
    let file = chiasm_graph::open_file(path, u64::MAX).map_err(|e| format!("cannot be read: {e}"))?;
    let size = file.metadata().map_err(|e| format!("cannot be read: {e}"))?.len();
    let cache = ReadCache::new(file);
    let library =
        object::File::parse(&cache).map_err(|e| format!("it is not a shared library ({size} bytes, {e})"))?;
    if library.kind() != ObjectKind::Dynamic {
        return Err(format!("it is a {:?} file, expected a shared library", library.kind()));
    }
    if library.architecture() != host_architecture() {
        return Err(format!(
            "it is built for {:?}, this machine is {:?}",
            library.architecture(),
            host_architecture()
        ));
    }
    let mut exports = library.exports().map_err(|e| format!("its table of functions cannot be read: {e}"))?;
    let has_entry = exports.any(|export| match export.map(|e| e.into_name()) {
        // Mach-O names carry a leading underscore.
        Ok(NameOrOrdinal::Name(name)) => name.strip_prefix(b"_").unwrap_or(&name) == ENTRY.as_bytes(),
        _ => false,
    });
    if !has_entry {
        return Err(format!("it is a shared library, but not ONNX Runtime: it does not export {ENTRY}"));
    }
    let version = tagged_version(&library).or_else(|| version_in(&path.file_name()?.to_string_lossy()));
    match version.as_deref().map(parse_version) {
        Some(v) if v.len() >= 2 && (v[0] != 1 || v[1] < ort::MINOR_VERSION) => Err(format!(
            "it is ONNX Runtime {}, expected 1.{} or newer",
            version.unwrap_or_default(),
            ort::MINOR_VERSION
        )),
        _ => Ok(version),
    }
}

fn host_architecture() -> object::Architecture {
    match std::env::consts::ARCH {
        "x86_64" => object::Architecture::X86_64,
        "aarch64" => object::Architecture::Aarch64,
        "x86" => object::Architecture::I386,
        "arm" => object::Architecture::Arm,
        _ => object::Architecture::Unknown,
    }
}

/// Official ELF builds tag their symbols `VERS_1.31.1`.
fn tagged_version<'a>(library: &impl Object<'a>) -> Option<String> {
    let names = library.section_by_name(".dynstr")?.data().ok()?;
    let tag = b"VERS_1.";
    let start = names.windows(tag.len()).position(|w| w == tag)? + b"VERS_".len();
    version_in(&String::from_utf8_lossy(names[start..].split(|b| *b == 0).next()?))
}

/// Returns the first dotted number with at least two parts in a name: `1.31.1` of `libonnxruntime.so.1.31.1`.
pub(crate) fn version_in(name: &str) -> Option<String> {
    name.split(|c: char| !c.is_ascii_digit() && c != '.')
        .map(|part| part.trim_matches('.'))
        .find(|part| part.contains('.'))
        .map(str::to_owned)
}

pub(crate) fn parse_version(text: &str) -> Version {
    text.split('.').map_while(|part| part.parse().ok()).collect()
}

/// Returns the files of a folder that are named like ONNX Runtime, the highest version first.
pub(crate) fn candidates(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|e| is_engine_name(&e.file_name().to_string_lossy()))
        .map(|e| e.path())
        .collect();
    found.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (std::cmp::Reverse(version_in(&name).map(|v| parse_version(&v)).unwrap_or_default()), name)
    });
    found
}

/// Whether a file is named like ONNX Runtime: `libonnxruntime.so[.1.31.1]`, `libonnxruntime[.1.31.1].dylib`,
/// `onnxruntime.dll`.
pub(crate) fn is_engine_name(name: &str) -> bool {
    match std::env::consts::OS {
        "windows" => name == "onnxruntime.dll",
        "macos" => {
            name.starts_with("libonnxruntime") && name.ends_with(".dylib") && !name.contains("providers")
        }
        _ => name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_names() {
        assert_eq!(version_in("libonnxruntime.so.1.31.1").as_deref(), Some("1.31.1"));
        assert_eq!(version_in("libonnxruntime.1.30.0.dylib").as_deref(), Some("1.30.0"));
        assert_eq!(version_in("libonnxruntime.so.1"), None);
        assert_eq!(version_in("onnxruntime.dll"), None);
    }

    #[test]
    fn files_that_are_not_an_engine_are_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("libonnxruntime.so");
        std::fs::write(&text, "hello").unwrap();
        assert!(inspect(&text).unwrap_err().contains("not a shared library"));
        assert!(inspect(dir.path()).unwrap_err().contains("folder"));
        assert!(inspect(&dir.path().join("none")).unwrap_err().contains("cannot be read"));
        // The test program itself is a valid ELF, Mach-O or PE file that is not ONNX Runtime.
        assert!(inspect(&std::env::current_exe().unwrap()).is_err());
    }
}
