//! SHA-256 digests of files and of lists of byte strings.

use sha2::{Digest, Sha256};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

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

/// Returns the digest that identifies a model: the SHA-256 of its file if the file holds all weights. With
/// weights in other files, `weights`, it is the SHA-256 of the digests of all files, by name.
///
/// # Errors
/// As [`sha256_of`].
pub fn model_digest(path: &Path, weights: &[PathBuf]) -> std::io::Result<String> {
    let model = sha256_of(path)?;
    if weights.is_empty() {
        return Ok(model);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut key = KeyHasher::default();
    key.add("model with weights in other files").add(model);
    for file in weights {
        key.add(file.strip_prefix(folder).unwrap_or(file).as_os_str().as_encoded_bytes());
        key.add(sha256_of(file)?);
    }
    Ok(key.finish())
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
    fn the_digest_of_a_model_covers_every_file() {
        let here = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(here.path().join(name), text).unwrap();
            here.path().join(name)
        };
        let model = write("m.onnx", "abc");
        // FIPS 180-2, appendix B.1
        let alone = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(model_digest(&model, &[]).unwrap(), alone);
        let weights = [write("a.data", "1"), write("b.data", "2")];
        let first = model_digest(&model, &weights).unwrap();
        assert_ne!(first, alone);
        assert_eq!(model_digest(&model, &weights).unwrap(), first);
        write("b.data", "3");
        assert_ne!(model_digest(&model, &weights).unwrap(), first);
        std::fs::remove_file(&weights[0]).unwrap();
        assert!(model_digest(&model, &weights).is_err());
    }

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
