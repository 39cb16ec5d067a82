//! The cache on disk: embeddings in shards, checkpoints of trainings, and scores of the fits of comparisons.
//! An interrupted command resumes from it.
//!
//! The key of a shard is the SHA-256 of everything its values depend on: model, ports, preprocessing,
//! adapter, engine, device and the bytes of its raw items. An entry is therefore never stale, and none is
//! ever invalidated. A shard is an .npy file, followed by the SHA-256 of its key and its bytes: a damaged
//! one is never used.
//!
//! The cache is private: its folders are created with the mode 0700, and one that belongs to another user, or
//! that others can write to, is refused. There is no cache in a shared temporary folder.

use crate::base::{error::Error, npy::split_array};
use ndarray::{Array, Dimension, IxDyn};
use npyz::WriterBuilder;
use sha2::{Digest, Sha256};
use std::{
    fs::{DirBuilder, File},
    io::{BufWriter, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Number of shards that this process has stored; makes temporary names unique.
static STORED: AtomicU64 = AtomicU64::new(0);

/// The bytes of the digest at the end of a shard.
const DIGEST: u64 = 32;

/// A cache folder, with embeddings in `embeddings/`, checkpoints in `trainings/`, scores of comparisons in
/// `scores/` and crashes of plugins in `crashes/`.
#[derive(Debug, Clone)]
pub struct Cache {
    /// `None` if the environment names no place for it.
    folder: Option<PathBuf>,
}

impl Cache {
    /// Returns the user's cache: `$CHIASM_CACHE`, else `chiasm` in `$XDG_CACHE_HOME` or in `~/.cache`.
    /// Nothing is created yet.
    pub fn of_user() -> Self {
        let named = std::env::var_os("CHIASM_CACHE").filter(|d| !d.is_empty()).map(PathBuf::from);
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Self { folder: named.or_else(|| Some(base?.join("chiasm"))) }
    }

    /// Returns a cache in `folder`.
    pub fn at(folder: &Path) -> Self {
        Self { folder: Some(folder.to_path_buf()) }
    }

    /// Returns the folder of the cache; `None` if the environment names no place for it.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Returns the folder of training checkpoints, which is created if it is missing.
    ///
    /// # Errors
    /// As [`Cache::embeddings`].
    pub fn trainings(&self) -> Result<PathBuf, Error> {
        self.private("trainings")
    }

    /// Returns the folder of the scores of finished fits of comparisons, which is created if it is missing.
    ///
    /// # Errors
    /// As [`Cache::embeddings`].
    pub fn scores(&self) -> Result<PathBuf, Error> {
        self.private("scores")
    }

    /// Returns the folder of the records of plugins that crashed, which may be missing; `None` if the
    /// environment names no place for the cache.
    pub fn crashes(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join("crashes"))
    }

    /// Returns the folder of the shards of embeddings, which is created if it is missing.
    ///
    /// # Errors
    /// If the environment names no place for the cache, or its folder cannot be created, belongs to another
    /// user, or can be written by others.
    pub fn embeddings(&self) -> Result<ShardFolder, Error> {
        self.private("embeddings").map(ShardFolder)
    }

    fn private(&self, part: &str) -> Result<PathBuf, Error> {
        let Some(folder) = &self.folder else {
            let message = "there is no place for the cache: HOME is not set";
            return Err(Error::input("chiasm::cache", message, "name a folder of your own in CHIASM_CACHE"));
        };
        let whole = folder.join(part);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&whole);
        made.map_err(|e| Error::io("create", &whole, e))?;
        check_private(folder)?;
        check_private(&whole)?;
        Ok(whole)
    }
}

/// Returns an error if a folder is not the user's own, or others can write to it.
fn check_private(folder: &Path) -> Result<(), Error> {
    let found = folder.metadata().map_err(|e| Error::io("read", folder, e))?;
    // The owner of a process's folder in /proc is its effective user.
    let user = std::fs::metadata("/proc/self").map_or(found.uid(), |process| process.uid());
    let what = if found.uid() != user {
        format!("belongs to the user {}, and you are {user}", found.uid())
    } else if found.mode() & 0o022 != 0 {
        format!("can be written by other users (its mode is {:o})", found.mode() & 0o7777)
    } else {
        return Ok(());
    };
    let message = format!("the cache folder {} {what}, so its content cannot be trusted", folder.display());
    let help = "delete its content and run `chmod 700` on it, or name a folder of your own in CHIASM_CACHE";
    Err(Error::input("chiasm::cache", message, help))
}

/// The folder of the shards of embeddings.
#[derive(Debug, Clone)]
pub struct ShardFolder(PathBuf);

impl ShardFolder {
    /// Returns the shard stored under `key`; `None` if there is none.
    ///
    /// # Errors
    /// Why the shard is damaged: its digest differs, it does not have `rows` rows, or a number is not finite.
    pub fn load<D: Dimension>(&self, key: &str, rows: usize) -> Result<Option<Array<f32, D>>, String> {
        let path = self.path(key);
        if !path.exists() {
            return Ok(None);
        }
        let bad = |what: String| format!("{}: {what}", path.display());
        let mut file = chiasm_host::open_file(&path, u64::MAX).map_err(|e| bad(e.to_string()))?;
        let length = checked_length(&mut file, key).map_err(|e| bad(e.to_string()))?;
        let length = length.ok_or_else(|| bad("its digest differs".to_owned()))?;
        file.rewind().map_err(|e| bad(e.to_string()))?;
        let values = read_values(file.take(length), rows).map_err(|e| bad(e.to_string()))?;
        let shape = values.shape().to_vec();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(bad("a number is not finite".to_owned()));
        }
        values.into_dimensionality().map(Some).map_err(|_| bad(format!("its shape is {shape:?}")))
    }

    /// Stores a shard. It is written under a temporary name and then renamed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn store<D: Dimension>(&self, key: &str, shard: &Array<f32, D>) -> Result<(), Error> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.0);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|e| Error::io("create", parent, e))?;
        // The name is unique, also among threads that store the same shard.
        let count = STORED.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{count}.tmp", std::process::id()));
        let written = write_shard(&temporary, key, shard).and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(|e| {
            let _ = std::fs::remove_file(&temporary); // best effort: the write error is reported
            Error::io("write", &path, e)
        })
    }

    fn path(&self, key: &str) -> PathBuf {
        let (folder, rest) = key.split_at(2.min(key.len()));
        self.0.join(folder).join(format!("{rest}.npy"))
    }
}

/// Returns the length of a shard without its digest; `None` if the digest differs.
fn checked_length(file: &mut File, key: &str) -> std::io::Result<Option<u64>> {
    let Some(length) = file.metadata()?.len().checked_sub(DIGEST) else { return Ok(None) };
    let mut hasher = HashingWriter { to: std::io::sink(), hasher: Sha256::new_with_prefix(key) };
    std::io::copy(&mut Read::by_ref(file).take(length), &mut hasher)?;
    let mut stored = Vec::new();
    file.read_to_end(&mut stored)?;
    Ok((stored == hasher.hasher.finalize().as_slice()).then_some(length))
}

fn read_values(mut file: impl Read, rows: usize) -> std::io::Result<Array<f32, IxDyn>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let (header, bytes) = split_array(bytes)?;
    let npy = npyz::NpyFile::with_header(header, bytes.as_slice());
    let shape: Vec<usize> =
        npy.shape().iter().map(|&axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect();
    if shape.first() != Some(&rows) {
        return Err(std::io::Error::other(format!("expected {rows} rows, got the shape {shape:?}")));
    }
    Array::from_shape_vec(IxDyn(&shape), npy.into_vec()?).map_err(std::io::Error::other)
}

fn write_shard<D: Dimension>(path: &Path, key: &str, shard: &Array<f32, D>) -> std::io::Result<()> {
    let to = BufWriter::new(File::create(path)?);
    let mut file = HashingWriter { to, hasher: Sha256::new_with_prefix(key) };
    write_array(&mut file, shard)?;
    let HashingWriter { mut to, hasher } = file;
    to.write_all(hasher.finalize().as_slice())?;
    to.flush()
}

/// Hashes all bytes that are written through it.
struct HashingWriter<W> {
    to: W,
    hasher: Sha256,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
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
    write_array(&mut file, array)?;
    file.flush()
}

fn write_array<T: npyz::AutoSerialize, D: Dimension>(
    file: &mut impl Write,
    array: &Array<T, D>,
) -> std::io::Result<()> {
    let shape: Vec<u64> = array.shape().iter().map(|&axis| axis as u64).collect();
    let mut npy = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()?;
    npy.extend(array.iter())?;
    npy.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix2, Ix3, array};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn stored_shards_load_and_others_are_named_as_damaged() {
        let here = tempfile::tempdir().unwrap();
        let cache = Cache::at(here.path()).embeddings().unwrap();
        let shard = array![[1.0_f32, -2.5], [f32::MIN_POSITIVE, 4.0]];
        cache.store("abcd", &shard).unwrap();
        assert_eq!(cache.load("abcd", 2), Ok(Some(shard.clone())));
        assert_eq!(cache.load::<Ix2>("abce", 2), Ok(None));
        assert!(cache.load::<Ix2>("abcd", 3).unwrap_err().contains("expected 3 rows"));
        assert!(cache.load::<Ix3>("abcd", 2).unwrap_err().contains("its shape is"));
        // A shard under the name of another one.
        std::fs::copy(cache.path("abcd"), cache.path("abcf")).unwrap();
        assert!(cache.load::<Ix2>("abcf", 2).unwrap_err().contains("digest"));
        let infinite = array![[1.0_f32, f32::INFINITY]];
        cache.store("dcba", &infinite).unwrap();
        assert!(cache.load::<Ix2>("dcba", 1).unwrap_err().contains("not finite"));
        // The file is still an .npy file for other programs.
        let bytes = std::fs::read(cache.path("abcd")).unwrap();
        let values: Vec<f32> = npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap();
        assert_eq!(values, shard.into_raw_vec_and_offset().0);
    }

    /// `CHIASM_FLIPS` sets the number of flips; by default every bit of this small shard is flipped once.
    #[test]
    fn no_flipped_bit_of_a_shard_is_used() {
        let here = tempfile::tempdir().unwrap();
        let cache = Cache::at(here.path()).embeddings().unwrap();
        cache.store("abcd", &array![[1.0_f32, -2.5], [0.5, 4.0]]).unwrap();
        let path = cache.path("abcd");
        let bytes = std::fs::read(&path).unwrap();
        let count = std::env::var("CHIASM_FLIPS").ok().and_then(|count| count.parse().ok());
        for flip in 0..count.unwrap_or(bytes.len() * 8) {
            let bit = flip % (bytes.len() * 8);
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &flipped).unwrap();
            assert!(cache.load::<Ix2>("abcd", 2).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(cache.load::<Ix2>("abcd", 2).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_folder_is_private() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("cache");
        let cache = Cache::at(&folder);
        cache.embeddings().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("embeddings"))), (0o700, 0o700));
        for wide in [&folder, &folder.join("embeddings")] {
            std::fs::set_permissions(wide, PermissionsExt::from_mode(0o777)).unwrap();
            let message = cache.embeddings().unwrap_err().to_string();
            assert!(message.contains("can be written by other users"), "{message}");
            std::fs::set_permissions(wide, PermissionsExt::from_mode(0o755)).unwrap();
            cache.embeddings().unwrap();
        }
        let none = Cache { folder: None };
        assert!(none.trainings().unwrap_err().to_string().contains("HOME"));
    }
}
