//! The cache on disk: embeddings in shards, and checkpoints of trainings. An interrupted fit resumes from it.
//!
//! The key of a shard is the SHA-256 of everything its values depend on: model, ports, preprocessing,
//! adapter, engine, device and the bytes of its raw items. An entry is therefore never stale, and none is
//! ever invalidated.

use crate::base::error::Error;
use ndarray::{Array, Dimension, IxDyn};
use npyz::WriterBuilder;
use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Number of shards that this process has stored; makes temporary names unique.
static STORED: AtomicU64 = AtomicU64::new(0);

/// A cache folder, with embeddings in `embeddings/` and checkpoints in `trainings/`.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Returns the user's cache: `$CHIASM_CACHE`, else `chiasm` in `$XDG_CACHE_HOME`, in `~/.cache`, or in
    /// the system's temporary folder.
    pub fn of_user() -> Self {
        let named = std::env::var_os("CHIASM_CACHE").map(PathBuf::from);
        let xdg = std::env::var_os("XDG_CACHE_HOME").filter(|d| !d.is_empty()).map(PathBuf::from);
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let base = || xdg.or(home).unwrap_or_else(std::env::temp_dir).join("chiasm");
        Self { folder: named.unwrap_or_else(base) }
    }

    /// Returns a cache in `folder`.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// Returns the folder of training checkpoints.
    pub fn trainings(&self) -> PathBuf {
        self.folder.join("trainings")
    }

    /// Returns the shard stored under `key`, or `None` if it is missing, damaged or does not have `rows`
    /// rows.
    pub fn load<D: Dimension>(&self, key: &str, rows: usize) -> Option<Array<f32, D>> {
        let file = File::open(self.path(key)).ok()?;
        let npy = npyz::NpyFile::new(BufReader::new(file)).ok()?;
        let shape: Vec<usize> =
            npy.shape().iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<_>>()?;
        if shape.first() != Some(&rows) {
            return None;
        }
        let values: Vec<f32> = npy.into_vec().ok()?;
        Array::from_shape_vec(IxDyn(&shape), values).ok()?.into_dimensionality().ok()
    }

    /// Stores a shard. It is written under a temporary name and then renamed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn store<D: Dimension>(&self, key: &str, shard: &Array<f32, D>) -> Result<(), Error> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        // The name is unique, also among threads that store the same shard.
        let count = STORED.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{count}.tmp", std::process::id()));
        let written = write_npy(&temporary, shard).and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(|e| {
            let _ = std::fs::remove_file(&temporary); // best effort: the write error is reported
            Error::io("write", &path, e)
        })
    }

    fn path(&self, key: &str) -> PathBuf {
        let (folder, rest) = key.split_at(2.min(key.len()));
        self.folder.join("embeddings").join(folder).join(format!("{rest}.npy"))
    }
}

/// Writes an array as an .npy file, in C order.
///
/// # Errors
/// If the file cannot be written.
pub fn write_npy<T: npyz::AutoSerialize, D: Dimension>(
    path: &Path,
    array: &Array<T, D>,
) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let shape: Vec<u64> = array.shape().iter().map(|&axis| axis as u64).collect();
    let mut npy = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut file).begin_nd()?;
    npy.extend(array.iter())?;
    npy.finish()?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix2, Ix3, array};

    #[test]
    fn stored_shards_load_and_damaged_ones_count_as_missing() {
        let here = tempfile::tempdir().unwrap();
        let cache = Cache::at(here.path());
        let shard = array![[1.0_f32, -2.5], [f32::MIN_POSITIVE, 4.0]];
        cache.store("abcd", &shard).unwrap();
        assert_eq!(cache.load("abcd", 2), Some(shard));
        assert_eq!(cache.load::<Ix2>("abcd", 3), None);
        assert_eq!(cache.load::<Ix2>("abce", 2), None);
        assert_eq!(cache.load::<Ix3>("abcd", 2), None);
        let path = cache.path("abcd");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(cache.load::<Ix2>("abcd", 2), None);
    }
}
