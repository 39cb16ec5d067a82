//! What is known of plugins on this machine: the lock file of the working folder, and crashes.

use crate::base::{cache::Cache, error::Error};
use chiasm_host::{CrashRecords, PluginLock};
use std::path::Path;

/// Returns the lock file of the working folder, or of the nearest folder above that has one.
///
/// # Errors
/// If the working folder cannot be found, or its lock file cannot be read.
pub fn plugin_lock() -> Result<Option<PluginLock>, Error> {
    let folder = std::env::current_dir().map_err(|e| Error::io("find", Path::new("."), e))?;
    PluginLock::find(&folder).map_err(|message| {
        Error::input("chiasm::plugin_lock", message, "mend the file, or remove it to run without a lock")
    })
}

/// Returns the records of crashes, beside the user's cache; `None` without a place for them.
pub fn crash_records() -> Option<CrashRecords> {
    Cache::of_user().crashes().map(CrashRecords::new)
}
