//! Writing a file that is either complete or absent.

use super::error::Error;
use std::path::Path;

/// Writes a file under a temporary name, and renames it when it is complete. An older file of this name stays
/// until then.
///
/// # Errors
/// If it cannot be written.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, content)
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|e| Error::io("write", path, e))
}
