//! The folder of a study: what it was started with, and one line for each finished fit.
//!
//! A study that was interrupted continues after its last complete line. A fit whose line was not written is
//! repeated; the line that a crash cut off is removed.

use crate::base::{error::Error, whole_file::write_file};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// What a study depends on, by the name that a message gives it.
pub type StudyIdentity = BTreeMap<&'static str, Value>;

/// The name of all inputs together: the data, the plugins, the engine, and the recipe.
pub const INPUTS: &str = "its data, a plugin or the engine";

/// The file with the result of a tuning.
pub const TUNING: &str = "tuning.json";
/// The file with the result of an ablation.
pub const ABLATION: &str = "ablation.json";
/// The file with the identity.
pub const IDENTITY: &str = "study.json";
/// Its largest size, in bytes.
const MAX_IDENTITY: u64 = 64 << 20;

/// The folder of a study. It is locked while it is open.
pub struct StudyFolder {
    folder: PathBuf,
    path: PathBuf,
    lines: File,
}

impl StudyFolder {
    /// Opens or creates the folder, and reads the finished fits from its file `lines`.
    ///
    /// # Errors
    /// If the folder holds another study or something else, another process uses it, or a file cannot be read
    /// or written.
    pub fn open<T: DeserializeOwned>(
        folder: &Path,
        lines: &str,
        identity: &StudyIdentity,
    ) -> Result<(Self, Vec<T>), Error> {
        let identity_path = folder.join(IDENTITY);
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        match chiasm_host::read_file(&identity_path, MAX_IDENTITY) {
            Ok(bytes) => check_identity(folder, &bytes, identity)?,
            Err(_) if is_empty(folder)? => {
                let text = serde_json::to_string_pretty(identity).unwrap_or_default();
                write_file(&identity_path, text.as_bytes())?;
            }
            Err(_) => {
                return Err(Error::input(
                    "chiasm::study::folder",
                    format!("{} exists and is not the folder of a study", folder.display()),
                    "choose another folder for -o; nothing was touched",
                ));
            }
        }
        let path = folder.join(lines);
        if path.exists() {
            chiasm_host::open_file(&path, u64::MAX).map_err(|e| Error::io("open", &path, e))?;
        }
        let mut file = (OpenOptions::new().read(true).append(true).create(true).open(&path))
            .map_err(|e| Error::io("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::input(
                    "chiasm::study::busy",
                    format!("another process is writing {}", path.display()),
                    "wait until it has finished, or choose another folder for -o",
                ));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
        }
        let finished = read_lines(&mut file, &path)?;
        Ok((Self { folder: folder.to_path_buf(), path, lines: file }, finished))
    }

    /// Appends the line of a finished fit. Returns what the line says, as a study that continues later reads
    /// it.
    ///
    /// # Errors
    /// If the line cannot be written.
    pub fn append<T: Serialize + DeserializeOwned>(&mut self, fit: &T) -> Result<T, Error> {
        let internal = |e: serde_json::Error| Error::Internal(format!("a line of a study: {e}"));
        let line = serde_json::to_string(fit).map_err(internal)?;
        self.lines
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| self.lines.sync_data())
            .map_err(|e| Error::io("write", &self.path, e))?;
        serde_json::from_str(&line).map_err(internal)
    }

    /// Writes a file into the folder; it appears once it is complete. Returns its path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        write_file(&path, content.as_bytes())?;
        Ok(path)
    }
}

/// Reads every complete line, and removes what a crash left of another one.
fn read_lines<T: DeserializeOwned>(file: &mut File, path: &Path) -> Result<Vec<T>, Error> {
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|e| Error::io("read", path, e))?;
    let complete = text.rfind('\n').map_or(0, |end| end + 1);
    file.set_len(complete as u64).map_err(|e| Error::io("write", path, e))?;
    let line = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| {
            let message = format!("line {} of {} was changed: {e}", at + 1, path.display());
            Error::input("chiasm::study::line", message, "delete this line and those after it")
        })
    };
    text[..complete].lines().enumerate().map(line).collect()
}

/// Fails if the folder belongs to a study of something else.
fn check_identity(folder: &Path, bytes: &[u8], identity: &StudyIdentity) -> Result<(), Error> {
    let known: BTreeMap<String, Value> = serde_json::from_slice(bytes).unwrap_or_default();
    let changed = identity.iter().filter(|(name, value)| known.get(**name) != Some(*value));
    // The inputs include the recipe, and are named only if nothing more specific differs.
    let names: Vec<&str> = changed.map(|(name, _)| *name).collect();
    let specific: Vec<&str> = names.iter().copied().filter(|name| *name != INPUTS).collect();
    let names = if specific.is_empty() { names } else { specific };
    if names.is_empty() {
        return Ok(());
    }
    let message =
        format!("{} holds the results of a study that differs in {}", folder.display(), names.join(", "));
    let help = "choose another folder for -o, or delete this one; nothing was touched";
    Err(Error::input("chiasm::study::changed", message, help))
}

fn is_empty(folder: &Path) -> Result<bool, Error> {
    let mut entries = std::fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(recipe: &str) -> StudyIdentity {
        StudyIdentity::from([("the recipe", json!(recipe)), ("--metric", json!("map"))])
    }

    fn open(folder: &Path, recipe: &str) -> Result<(StudyFolder, Vec<f64>), Error> {
        StudyFolder::open(folder, "trials.jsonl", &identity(recipe))
    }

    #[test]
    fn complete_lines_are_kept_and_a_cut_one_is_removed() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("study");
        let (mut study, lines) = open(&folder, "a").unwrap();
        assert!(lines.is_empty());
        let number = 0.1 + 0.2;
        let kept: f64 = study.append(&number).unwrap();
        assert!(open(&folder, "a").is_err_and(|e| e.to_string().contains("another process")));
        drop(study);
        let path = folder.join("trials.jsonl");
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}1.2")).unwrap();
        let (mut study, lines) = open(&folder, "a").unwrap();
        assert_eq!(lines, [kept]);
        study.append(&7.0_f64).unwrap();
        drop(study);
        assert_eq!(open(&folder, "a").unwrap().1, [kept, 7.0]);
    }

    #[test]
    fn another_study_or_folder_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let folder = here.path().join("study");
        drop(open(&folder, "a").unwrap());
        let message = open(&folder, "b").err().unwrap().to_string();
        assert!(message.contains("differs in the recipe"), "{message}");
        let other = here.path().join("other");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("notes.txt"), "mine").unwrap();
        assert!(open(&other, "a").is_err_and(|e| e.to_string().contains("not the folder of a study")));
    }
}
