//! Records of plugins that crashed. A file that crashed in three commands is in quarantine.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::PluginTag;

/// The number of commands in which a plugin has to crash before it is refused.
pub const QUARANTINE_AFTER: u32 = 3;
/// The largest record, in bytes.
const MAX_RECORD: u64 = 1 << 16;

/// The records that this process wrote: a command counts once for each plugin.
static WRITTEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The folder of the records. There is one record for each file of a plugin, under its SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashRecords {
    folder: PathBuf,
}

/// The crashes of one file of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashRecord {
    /// The id of the plugin.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its file.
    pub path: PathBuf,
    /// The SHA-256 digest of its file, in hexadecimal.
    pub sha256: String,
    /// The number of commands in which it crashed.
    pub commands: u32,
    /// What happened the last time, such as "its process was ended by signal 11 (segmentation fault)".
    pub last: String,
    /// When it crashed last, in seconds since 1970.
    pub at: u64,
}

impl CrashRecord {
    /// Returns whether the file is refused until it is released.
    pub fn is_quarantined(&self) -> bool {
        self.commands >= QUARANTINE_AFTER
    }
}

impl CrashRecords {
    /// Returns the records of a folder, which is created when the first one is written.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns all records, sorted by plugin. A record that cannot be read is left out.
    pub fn all(&self) -> Vec<CrashRecord> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut records: Vec<CrashRecord> = entries.filter_map(|entry| read(&entry.path())).collect();
        records.sort_by(|a, b| (&a.id, &a.path, &a.sha256).cmp(&(&b.id, &b.path, &b.sha256)));
        records
    }

    /// Returns the record of a file.
    pub fn of(&self, sha256: &str) -> Option<CrashRecord> {
        read(&self.path(sha256))
    }

    /// Deletes the records of a plugin, and returns them.
    ///
    /// # Errors
    /// If a record cannot be deleted.
    pub fn release(&self, id: &str) -> Result<Vec<CrashRecord>, String> {
        let records: Vec<CrashRecord> = self.all().into_iter().filter(|record| record.id == id).collect();
        for record in &records {
            let path = self.path(&record.sha256);
            fs::remove_file(&path).map_err(|e| format!("cannot delete {}: {e}", path.display()))?;
        }
        Ok(records)
    }

    /// Adds a crash. Without a place for the record, the plugin is only not remembered.
    pub(crate) fn add(&self, tag: &PluginTag, sha256: &str, last: &str) {
        let path = self.path(sha256);
        let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
        let first = written.insert(path.clone());
        let before = self.of(sha256).map_or(0, |record| record.commands);
        let record = CrashRecord {
            id: tag.id.clone(),
            version: tag.version.clone(),
            path: tag.path.clone(),
            sha256: sha256.to_owned(),
            commands: if first { before + 1 } else { before.max(1) },
            last: last.to_owned(),
            at: SystemTime::UNIX_EPOCH.elapsed().as_ref().map_or(0, Duration::as_secs),
        };
        let unfinished = path.with_extension(format!("{}.part", std::process::id()));
        let _ = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .and_then(|()| fs::write(&unfinished, serde_json::to_vec(&record)?))
            .and_then(|()| fs::rename(&unfinished, &path));
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.json"))
    }
}

fn read(path: &Path) -> Option<CrashRecord> {
    let bytes = chiasm_plugin::read_file(path, MAX_RECORD).ok()?;
    serde_json::from_slice(&bytes).ok()
}
