//! Writing a file that is either complete or absent.

use super::error::Error;
use std::path::Path;

/// Writes a file under a temporary name, and renames it when it is complete. An older file of this name stays
/// until then.
///
/// # Errors
/// If it cannot be written.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, content).and_then(|()| std::fs::rename(&temporary, path)).map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // best effort: the write error is reported
        Error::io("write", path, e)
    })
}
