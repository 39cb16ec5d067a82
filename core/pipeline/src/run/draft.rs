//! Writing a run folder. All files are written to a hidden folder, which is renamed at the end.
//!
//! A folder with the name of the run is therefore always complete. An interrupted fit leaves only the hidden
//! folder, which the next fit removes. An existing run is exchanged with the new one atomically, if the file
//! system supports it. Files and folders are flushed to the disk before. `timings.json` is the only file that
//! differs between two runs of the same recipe.

use super::files::{MANIFEST, RunManifest, TIMINGS};
use crate::base::{digest::sha256_of, error::Error, relative_path::RelativePath};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

/// An unfinished run folder.
pub struct DraftFolder {
    target: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl DraftFolder {
    /// Starts a draft of the run folder `target`, and removes the remains of an interrupted one.
    ///
    /// # Errors
    /// If `target` exists and is not a run folder, another process is writing the same run, or a folder
    /// cannot be created.
    pub fn begin(target: &Path) -> Result<Self, Error> {
        if target.exists() && !target.join(MANIFEST).is_file() {
            return Err(Error::input(
                "chiasm::run::not_a_run",
                format!("{} exists and is not a run folder", target.display()),
                "choose another folder for -o; nothing was touched",
            ));
        }
        let target = std::path::absolute(target).map_err(|e| Error::io("find", target, e))?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let parent = target.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        let lock_path = parent.join(format!(".{name}.lock"));
        // An existing file, or the file that a link of this name leads to, keeps its content.
        let lock = (OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path))
            .map_err(|e| Error::io("create", &lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::input(
                    "chiasm::run::busy",
                    format!("another process is writing {}", target.display()),
                    "wait until it has finished, or choose another folder for -o",
                ));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &lock_path, e)),
        }
        let folder = parent.join(format!(".{name}.partial"));
        remove(&folder)?;
        remove(&folder.with_extension("old"))?;
        std::fs::create_dir(&folder).map_err(|e| Error::io("create", &folder, e))?;
        Ok(Self { target, folder, _lock: lock })
    }

    /// Returns the hidden folder that files are written to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file and creates its parent folders.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        std::fs::write(&path, content).map_err(|e| Error::io("write", &path, e))
    }

    /// Writes a value as indented JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::Internal(format!("cannot format {name} as JSON: {e}")))?;
        text.push('\n');
        self.write(name, text)
    }

    /// Returns the SHA-256 of every file written so far, except `timings.json` and the manifest.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn digests(&self) -> Result<BTreeMap<RelativePath, String>, Error> {
        let mut files = Vec::new();
        list_files(&self.folder, &mut files)?;
        let mut hashes = BTreeMap::new();
        for path in files {
            let name = path.strip_prefix(&self.folder).unwrap_or(&path).to_string_lossy();
            if name != TIMINGS && name != MANIFEST {
                let name = RelativePath::new(&name).map_err(Error::Internal)?;
                hashes.insert(name, sha256_of(&path).map_err(|e| Error::io("read", &path, e))?);
            }
        }
        Ok(hashes)
    }

    /// Writes the manifest and renames the draft. An existing run of that name is replaced.
    ///
    /// # Errors
    /// If a file operation fails. An existing run is unchanged then.
    pub fn finish(self, manifest: &RunManifest) -> Result<PathBuf, Error> {
        self.write_json(MANIFEST, manifest)?;
        self.place()
    }

    /// Renames the draft without writing a manifest.
    ///
    /// # Errors
    /// As [`DraftFolder::finish`].
    pub fn place(self) -> Result<PathBuf, Error> {
        flush(&self.folder)?;
        if self.target.exists() {
            self.exchange()?;
        } else {
            std::fs::rename(&self.folder, &self.target).map_err(|e| Error::io("move", &self.folder, e))?;
        }
        let parent = self.target.parent().unwrap_or(Path::new("/"));
        flush_folder(parent)?;
        Ok(self.target.clone())
    }

    /// Exchanges the names of the draft and the existing run, which is removed when the draft is dropped.
    fn exchange(&self) -> Result<(), Error> {
        match renameat_with(CWD, &self.folder, CWD, &self.target, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                // The file system cannot exchange two names: rename the existing run first, then the draft.
                let old = self.folder.with_extension("old");
                remove(&old)?;
                let moved = |from: &Path, to: &Path| {
                    std::fs::rename(from, to).map_err(|e| Error::io("move", from, e))
                };
                moved(&self.target, &old)?;
                if let Err(error) = moved(&self.folder, &self.target) {
                    moved(&old, &self.target)?;
                    return Err(error);
                }
                remove(&old)
            }
            Err(error) => Err(Error::io("replace", &self.target, error.into())),
        }
    }
}

impl Drop for DraftFolder {
    /// Removes the hidden folder: an unfinished draft, or the run that the draft replaced.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder); // best effort: the next draft removes it otherwise
    }
}

/// Removes a folder, if it exists.
fn remove(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("clear", folder, e)),
        _ => Ok(()),
    }
}

/// Flushes the files and entries of a folder to the disk.
fn flush(folder: &Path) -> Result<(), Error> {
    let mut files = Vec::new();
    list_files(folder, &mut files)?;
    for path in &files {
        File::open(path).and_then(|file| file.sync_all()).map_err(|e| Error::io("flush", path, e))?;
    }
    let mut folders: Vec<&Path> = files.iter().filter_map(|path| path.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders.into_iter().try_for_each(flush_folder)?;
    flush_folder(folder)
}

fn flush_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|e| Error::io("flush", folder, e))
}

fn list_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("list", folder, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::io("list", folder, e))?.path();
        if path.is_dir() { list_files(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::files::read_manifest;

    fn manifest() -> RunManifest {
        RunManifest { key: "k".into(), ..RunManifest::default() }
    }

    #[test]
    fn an_interrupted_draft_leaves_no_run_and_is_removed_by_the_next() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("run");
        std::fs::create_dir_all(here.path().join(".run.partial/a")).unwrap(); // left by a killed process
        let draft = DraftFolder::begin(&target).unwrap();
        draft.write("b/half.txt", "half").unwrap();
        drop(draft); // a failed fit leaves nothing
        assert!(!target.exists() && !here.path().join(".run.partial").exists());
        let draft = DraftFolder::begin(&target).unwrap();
        assert!(!draft.folder().join("a").exists());
        draft.write("whole.txt", "whole").unwrap();
        draft.finish(&manifest()).unwrap();
        assert_eq!(std::fs::read_to_string(target.join("whole.txt")).unwrap(), "whole");
        assert_eq!(read_manifest(&target).unwrap(), manifest());
    }

    #[test]
    fn a_folder_that_is_no_run_is_not_touched() {
        let here = tempfile::tempdir().unwrap();
        std::fs::write(here.path().join("thesis.txt"), "mine").unwrap();
        assert!(DraftFolder::begin(here.path()).is_err());
        assert_eq!(std::fs::read_to_string(here.path().join("thesis.txt")).unwrap(), "mine");
    }

    #[test]
    fn two_processes_cannot_write_the_same_run() {
        let here = tempfile::tempdir().unwrap();
        let first = DraftFolder::begin(&here.path().join("run")).unwrap();
        assert!(DraftFolder::begin(&here.path().join("run")).is_err());
        drop(first);
        assert!(DraftFolder::begin(&here.path().join("run")).is_ok());
    }

    #[test]
    fn digests_cover_all_files_except_timings_and_manifest() {
        let here = tempfile::tempdir().unwrap();
        let draft = DraftFolder::begin(&here.path().join("run")).unwrap();
        draft.write("b/c.txt", "").unwrap();
        draft.write(TIMINGS, "1").unwrap();
        draft.write(MANIFEST, "{}").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; // SHA-256 of no bytes
        let name = RelativePath::new("b/c.txt").unwrap();
        assert_eq!(draft.digests().unwrap(), BTreeMap::from([(name, empty.to_owned())]));
    }

    /// The folder `.run.old` is left if a process is killed between the two renames.
    #[test]
    fn an_existing_run_is_replaced_and_remains_are_removed() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("run");
        std::fs::create_dir_all(here.path().join(".run.old/a")).unwrap();
        for text in ["first", "second"] {
            let draft = DraftFolder::begin(&target).unwrap();
            draft.write("file.txt", text).unwrap();
            draft.finish(&manifest()).unwrap();
            assert_eq!(std::fs::read_to_string(target.join("file.txt")).unwrap(), text);
        }
        let names: Vec<String> = (std::fs::read_dir(here.path()).unwrap())
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        assert_eq!(names, ["run"]);
    }

    #[test]
    fn verification_detects_missing_and_changed_files() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("run");
        let draft = DraftFolder::begin(&target).unwrap();
        draft.write("model.onnx", "weights").unwrap();
        let manifest = RunManifest { outputs: draft.digests().unwrap(), ..manifest() };
        draft.finish(&manifest).unwrap();
        manifest.verify(&target).unwrap();
        std::fs::write(target.join("model.onnx"), "weight").unwrap();
        assert!(manifest.verify(&target).unwrap_err().to_string().contains("was changed"));
        std::fs::remove_file(target.join("model.onnx")).unwrap();
        assert!(manifest.verify(&target).unwrap_err().to_string().contains("cannot be read"));
    }
}
