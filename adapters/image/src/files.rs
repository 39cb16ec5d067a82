//! Reads a whole file, with an error message for every failure.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest size of a file: more than the largest image that is decoded takes without compression.
const MAX_BYTES: u64 = 1 << 30;

/// Reads a file. It must be a regular file, because a pipe might never end, of at most [`MAX_BYTES`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let described =
        |error: std::io::Error| format!("cannot be read ({error}); check the path in the pairs table");
    let mut file = File::open(path).map_err(described)?;
    let metadata = file.metadata().map_err(described)?;
    if !metadata.is_file() {
        return Err("is not a file; check the path in the pairs table".into());
    }
    if metadata.len() > MAX_BYTES {
        return Err(format!(
            "has {} bytes, at most {MAX_BYTES} are read; shrink the picture first",
            metadata.len()
        ));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.read_to_end(&mut bytes).map_err(described)?;
    Ok(bytes)
}
