//! SHA-256 digests of files and of lists of byte strings.

use sha2::{Digest, Sha256};
use std::{io::Read, path::Path};

/// Returns the SHA-256 of a file, in hex.
///
/// # Errors
/// If the file cannot be read, or is a pipe, a device or a folder.
pub fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = chiasm_host::open_file(path, u64::MAX)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&block[..read]),
        }
    }
}

/// Formats bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hashes a list of byte strings. Each is preceded by its length, so `["ab", "c"]` and `["a", "bc"]` differ.
#[derive(Clone, Default)]
pub struct KeyHasher(Sha256);

impl KeyHasher {
    /// Adds one byte string.
    pub fn add(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Returns the digest of everything added so far, in hex.
    pub fn finish(&self) -> String {
        hex(&self.0.clone().finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_depends_on_where_parts_end() {
        let key = |parts: &[&str]| {
            let mut key = KeyHasher::default();
            parts.iter().for_each(|p| {
                key.add(p);
            });
            key.finish()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
    }
}
