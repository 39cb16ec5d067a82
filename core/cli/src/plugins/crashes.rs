//! Plugins that crashed in earlier commands, and `plugin retry`.

use crate::{
    args::GlobalOptions,
    command_result::{CommandResult, json},
    print,
};
use chiasm_host::{CrashRecord, QUARANTINE_AFTER};
use chiasm_pipeline::{Error, crash_records};

/// Returns the records of crashes.
pub fn records() -> Vec<CrashRecord> {
    crash_records().map(|records| records.all()).unwrap_or_default()
}

/// Says what is remembered of a plugin.
pub fn sentence(record: &CrashRecord) -> String {
    let CrashRecord { id, version, path, commands, last, .. } = record;
    let place = path.display();
    let commands = match commands {
        1 => "1 command".to_owned(),
        more => format!("{more} commands"),
    };
    let state = match record.is_quarantined() {
        true => format!("it is refused until `chiasm plugin retry {id}`"),
        false => format!("it runs in a process of its own, and is refused after {QUARANTINE_AFTER} commands"),
    };
    format!("{id} {version} ({place}) crashed in {commands}, the last time {last}; {state}")
}

/// Deletes the records of a plugin.
///
/// # Errors
/// If there are none, or they cannot be deleted.
pub fn retry(id: &str, global: &GlobalOptions) -> CommandResult {
    let fail =
        |message: String| Error::input("chiasm::plugin", message, "`chiasm plugin list` shows crashes");
    let released = crash_records().map_or(Ok(Vec::new()), |records| records.release(id)).map_err(fail)?;
    if released.is_empty() {
        return Err(fail(format!("the plugin {id} has not crashed")));
    }
    if json(global) {
        print::json(&released);
        return Ok(());
    }
    for CrashRecord { id, version, path, .. } in &released {
        print::line(&format!("{id} {version} ({}) may run again", path.display()));
    }
    Ok(())
}
