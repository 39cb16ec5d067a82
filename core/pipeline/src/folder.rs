//! A run folder: everything is written into a hidden sibling and renamed into place at the end, in one step.
//!
//! A killed run leaves only the sibling, which the next run clears; a folder that has the run's name is whole.
//! Nothing in it depends on when it was made (timings go to `timings.json`, the one file that differs between
//! two runs of the same recipe).

use crate::{Error, card::sha256_of};
use chiasm_host::{EncoderSpec, Task};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

/// The file that makes a folder a run; written last.
pub const MANIFEST: &str = "manifest.json";
/// The one file whose bytes differ between equal runs.
pub const TIMINGS: &str = "timings.json";

/// How the trainings of the run went: their curves.
pub const TRAINING: &str = "training.json";

/// What a run was made of and what it made: hashes, engine, seeds.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Manifest {
    /// Version of Chiasm that made it.
    pub chiasm: String,
    /// sha256 over everything the run depends on: same key, same bytes.
    pub key: String,
    /// ONNX Runtime's version and the provider that really ran.
    pub engine: String,
    /// The provider that really ran, e.g. `cpu`.
    pub provider: String,
    /// Seed of everything random.
    pub seed: u64,
    /// The modalities: how their raw input is prepared and which ports they have in `model.onnx`.
    pub modalities: Vec<ModalityManifest>,
    /// The fused output of `model.onnx`, when there is a fusion.
    pub fused: Option<String>,
    /// What the fusion answers, when it was trained for a task: the labels name the columns of `logits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Rows used and rows skipped as unreadable.
    pub rows: RowCounts,
    /// What was read: name to sha256.
    pub inputs: BTreeMap<String, String>,
    /// sha256 over each model's weights as they went in and as they are in `model.onnx`: equal.
    pub frozen_weights: BTreeMap<String, String>,
    /// What was written: file to sha256.
    pub outputs: BTreeMap<String, String>,
}

/// One modality of a run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct ModalityManifest {
    /// Its name in the recipe.
    pub name: String,
    /// Its embedding in `model.onnx`.
    pub output: String,
    /// The encoders, in order.
    pub encoders: Vec<EncoderManifest>,
}

/// One encoder of a run.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct EncoderManifest {
    /// The card's name, or the vectors' file.
    pub name: String,
    /// The folder in the run that holds the card and what its adapter needs.
    pub folder: String,
    /// The adapter that prepares raw input.
    pub adapter: String,
    /// The adapter's input names to the input names of `model.onnx`.
    pub inputs: BTreeMap<String, String>,
    /// What the adapter is opened with; an empty directory means `folder`.
    pub spec: EncoderSpec,
}

/// Rows used and skipped.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
pub struct RowCounts {
    /// Rows maps were fitted on.
    pub train: usize,
    /// Rows they were measured on.
    pub test: usize,
    /// Rows left out because an item could not be read (`--skip-bad`), by id.
    pub skipped: Vec<String>,
}

/// A run folder in the making.
pub struct Draft {
    target: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl Draft {
    /// Starts a draft of the run folder `target`, clearing what a killed run left.
    ///
    /// # Errors
    /// When `target` is something other than a run folder, another process is making the same run, or the disk
    /// refuses.
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
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|e| Error::io("clear", &folder, e))?;
        }
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

    /// Hashes every file written so far, but the one that may differ.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn hashes(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut files = Vec::new();
        list_files(&self.folder, &mut files)?;
        let mut hashes = BTreeMap::new();
        for path in files {
            let name = path.strip_prefix(&self.folder).unwrap_or(&path).to_string_lossy().into_owned();
            if name != TIMINGS {
                hashes.insert(name, sha256_of(&path).map_err(|e| Error::io("read", &path, e))?);
            }
        }
        Ok(hashes)
    }

    /// Writes the manifest and moves the draft into place; an older run of that name is replaced.
    ///
    /// # Errors
    /// When the disk refuses; the older run is then still there.
    pub fn finish(self, manifest: &Manifest) -> Result<PathBuf, Error> {
        self.write_json(MANIFEST, manifest)?;
        self.place()
    }

    /// Moves the draft into place as it is.
    ///
    /// # Errors
    /// As [`Draft::finish`].
    pub fn place(self) -> Result<PathBuf, Error> {
        let old = self.folder.with_extension("old");
        if self.target.exists() {
            std::fs::rename(&self.target, &old).map_err(|e| Error::io("move", &self.target, e))?;
        }
        std::fs::rename(&self.folder, &self.target).map_err(|e| Error::io("move", &self.folder, e))?;
        if old.exists() {
            std::fs::remove_dir_all(&old).map_err(|e| Error::io("clear", &old, e))?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for Draft {
    /// An abandoned draft leaves nothing; after [`Draft::finish`] there is nothing left to clear.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder); // best effort: the next draft clears it otherwise
    }
}

fn list_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io("list", folder, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::io("list", folder, e))?.path();
        if path.is_dir() { list_files(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// The manifest of a finished run.
///
/// # Errors
/// When `run` is no run folder, or its manifest was damaged.
pub fn read_manifest(run: &Path) -> Result<Manifest, Error> {
    let path = run.join(MANIFEST);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Error::input(
            "chiasm::run::not_a_run",
            format!("{} is not a run folder: {}: {e}", run.display(), path.display()),
            "`chiasm fit RECIPE -o RUN` makes one",
        )
    })?;
    serde_json::from_str(&text).map_err(|e| {
        Error::input(
            "chiasm::run::damaged",
            format!("{} is not a manifest: {e}", path.display()),
            "fit the run again",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            chiasm: "0".into(),
            key: "k".into(),
            engine: "e".into(),
            provider: "cpu".into(),
            seed: 0,
            modalities: Vec::new(),
            fused: None,
            task: None,
            rows: RowCounts::default(),
            inputs: BTreeMap::new(),
            frozen_weights: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }

    #[test]
    fn a_killed_draft_leaves_no_run_and_is_cleared_by_the_next() {
        let here = tempfile::tempdir().unwrap();
        let target = here.path().join("run");
        std::fs::create_dir_all(here.path().join(".run.partial/a")).unwrap(); // what a killed run leaves
        let draft = Draft::begin(&target).unwrap();
        draft.write("b/half.txt", "half").unwrap();
        drop(draft); // what a failed run leaves: nothing
        assert!(!target.exists() && !here.path().join(".run.partial").exists());
        let draft = Draft::begin(&target).unwrap();
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
        assert!(Draft::begin(here.path()).is_err());
        assert_eq!(std::fs::read_to_string(here.path().join("thesis.txt")).unwrap(), "mine");
    }

    #[test]
    fn two_processes_do_not_make_the_same_run() {
        let here = tempfile::tempdir().unwrap();
        let first = Draft::begin(&here.path().join("run")).unwrap();
        assert!(Draft::begin(&here.path().join("run")).is_err());
        drop(first);
        assert!(Draft::begin(&here.path().join("run")).is_ok());
    }

    #[test]
    fn hashes_cover_all_but_timings() {
        let here = tempfile::tempdir().unwrap();
        let draft = Draft::begin(&here.path().join("run")).unwrap();
        draft.write("b/c.txt", "").unwrap();
        draft.write(TIMINGS, "1").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; // sha256 of nothing
        assert_eq!(draft.hashes().unwrap(), BTreeMap::from([("b/c.txt".to_owned(), empty.to_owned())]));
    }
}
