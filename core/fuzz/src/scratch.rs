//! Files for readers that take a path: one folder for each thread, removed when the thread ends.

use std::path::{Path, PathBuf};
use tempfile::TempDir;

thread_local! {
    static FOLDER: Option<TempDir> = tempfile::tempdir().ok();
}

/// Writes a file of the thread's folder and passes its path on. An earlier file of this name is replaced. If
/// the file cannot be written, nothing is called.
pub(crate) fn with_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> Option<T> {
    let path = path(name)?;
    std::fs::create_dir_all(path.parent()?).ok()?;
    std::fs::write(&path, bytes).ok()?;
    Some(read(&path))
}

/// Returns the path of a file in the thread's folder.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    FOLDER.with(|folder| folder.as_ref().map(|folder| folder.path().join(name)))
}
