//! Writing a run folder: everything goes into a hidden folder beside it, which takes the run's name at the
//! end in one step.
//!
//! A killed run leaves only the hidden folder, which the next one clears; a folder that has the run's name is
//! whole. An older run of that name is exchanged for the new one in one step where the file system can, so
//! that there is a run at every moment. Files and folders are flushed to the disk before the exchange.
//! Nothing in a run depends on when it was made, but for `timings.json`, the one file that differs between
//! two runs of the same recipe.

use super::files::{MANIFEST, RunManifest, TIMINGS};
use crate::base::{digest::sha256_of, error::Error};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

/// A run folder in the making.
pub struct DraftFolder {
    target: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl DraftFolder {
    /// Starts a draft of the run folder `target`, clearing what a killed run left.
    ///
    /// # Errors
    /// When `target` is something other than a run folder, another process is making the same run, or the
    /// disk refuses.
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
        let lock = File::create(&lock_path).map_err(|e| Error::io("create", &lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::input(
                    "chiasm::run::busy",
                    format!("another process is making {}", target.display()),
                    "wait for it, or choose another folder for -o",
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

    /// Where files are written.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a text file, making the folders it needs.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        std::fs::write(&path, content).map_err(|e| Error::io("write", &path, e))
    }

    /// Writes pretty JSON with a final newline.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|e| Error::Internal(format!("{name} cannot be written as JSON: {e}")))?;
        text.push('\n');
        self.write(name, text)
    }

    /// Hashes every file written so far, but the one that may differ and the manifest, which holds the
    /// hashes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn hashes(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut files = Vec::new();
        list_files(&self.folder, &mut files)?;
        let mut hashes = BTreeMap::new();
        for path in files {
            let name = path.strip_prefix(&self.folder).unwrap_or(&path).to_string_lossy().into_owned();
            if name != TIMINGS && name != MANIFEST {
                hashes.insert(name, sha256_of(&path).map_err(|e| Error::io("read", &path, e))?);
            }
        }
        Ok(hashes)
    }

    /// Writes the manifest and moves the draft into place; an older run of that name is replaced.
    ///
    /// # Errors
    /// When the disk refuses; the older run is then still there.
    pub fn finish(self, manifest: &RunManifest) -> Result<PathBuf, Error> {
        self.write_json(MANIFEST, manifest)?;
        self.place()
    }

    /// Moves the draft into place as it is.
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

    /// Gives the draft the run's name and the older run the draft's, which is cleared when the draft is
    /// dropped.
    fn exchange(&self) -> Result<(), Error> {
        match renameat_with(CWD, &self.folder, CWD, &self.target, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                // a file system that cannot exchange: two steps, with the older run aside for a moment
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
    /// Clears the hidden folder: an abandoned draft, or the run that the draft replaced.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder); // best effort: the next draft clears it otherwise
    }
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("clear", folder, e)),
        _ => Ok(()),
    }
}

/// Writes a folder's files and entries out to the disk.
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
    fn a_killed_draft_leaves_no_run_and_is_cleared_by_the_next() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("run");
        std::fs::create_dir_all(here.path().join(".run.partial/a")).unwrap(); // what a killed run leaves
        let draft = DraftFolder::begin(&target).unwrap();
        draft.write("b/half.txt", "half").unwrap();
        drop(draft); // what a failed run leaves: nothing
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
    fn two_processes_do_not_make_the_same_run() {
        let here = tempfile::tempdir().unwrap();
        let first = DraftFolder::begin(&here.path().join("run")).unwrap();
        assert!(DraftFolder::begin(&here.path().join("run")).is_err());
        drop(first);
        assert!(DraftFolder::begin(&here.path().join("run")).is_ok());
    }

    #[test]
    fn hashes_cover_all_but_timings() {
        let here = tempfile::tempdir().unwrap();
        let draft = DraftFolder::begin(&here.path().join("run")).unwrap();
        draft.write("b/c.txt", "").unwrap();
        draft.write(TIMINGS, "1").unwrap();
        draft.write(MANIFEST, "{}").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; // sha256 of nothing
        assert_eq!(draft.hashes().unwrap(), BTreeMap::from([("b/c.txt".to_owned(), empty.to_owned())]));
    }

    /// What a fit left that was killed between two renames must not make the next one fail.
    #[test]
    fn an_older_run_is_replaced_and_what_was_left_of_one_is_cleared() {
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
    fn a_run_with_a_missing_or_changed_file_is_damaged() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("run");
        let draft = DraftFolder::begin(&target).unwrap();
        draft.write("model.onnx", "weights").unwrap();
        let manifest = RunManifest { outputs: draft.hashes().unwrap(), ..manifest() };
        draft.finish(&manifest).unwrap();
        manifest.verify(&target).unwrap();
        std::fs::write(target.join("model.onnx"), "weight").unwrap();
        assert!(manifest.verify(&target).unwrap_err().to_string().contains("was changed"));
        std::fs::remove_file(target.join("model.onnx")).unwrap();
        assert!(manifest.verify(&target).unwrap_err().to_string().contains("cannot be read"));
    }
}
