//! The stage that a command is in, for what is said when it stops.

use chiasm_pipeline::visible;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A stage: its name, its steps, and how many of them are done.
static STAGE: Mutex<Option<(String, u64, u64)>> = Mutex::new(None);

fn stage() -> MutexGuard<'static, Option<(String, u64, u64)>> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stage of `total` steps begins; 0 means that the number is unknown.
pub fn begin(name: &str, total: u64) {
    *stage() = Some((visible(name).into_owned(), total, 0));
}

/// `done` steps of the stage are done.
pub fn advance(done: u64) {
    if let Some(stage) = stage().as_mut() {
        stage.2 = done;
    }
}

/// The stage has ended.
pub fn end() {
    *stage() = None;
}

/// Describes the stage.
pub fn described() -> Option<String> {
    let (name, total, done) = stage().clone()?;
    Some(if total > 0 { format!("{name} ({done} of {total})") } else { name })
}
