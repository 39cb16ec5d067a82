//! Reading a whole file, with every failure told in words.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The most bytes a picture's file may have: the largest picture that is decoded, uncompressed, fits well.
const MAX_BYTES: u64 = 1 << 30;

/// The file's bytes. Refused: what is no regular file (a pipe would never end), and more than a gigabyte.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("cannot be read ({error}); check the path in the pairs table");
    let mut file = File::open(path).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
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
    file.read_to_end(&mut bytes).map_err(told)?;
    Ok(bytes)
}
