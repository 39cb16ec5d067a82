//! Ctrl-C and SIGTERM: the first asks the command to stop at its next step, the second ends it at once. A
//! command that keeps nothing for the next time ends at the first.
//!
//! Ending at once is safe too: files appear under their names only when they are complete.

use crate::{print, stage};
use chiasm_pipeline::Cache;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    sync::atomic::{AtomicI32, Ordering},
    time::Duration,
};

/// How long a command has to stop by itself.
const GRACE: Duration = Duration::from_secs(3);

/// The first signal received, or 0.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// Returns the signal that asked to stop, if one did.
pub fn requested() -> Option<i32> {
    Some(RECEIVED.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// Returns the exit code of a command that a signal stopped: 130 for Ctrl-C, 143 for SIGTERM.
pub fn exit_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Starts to listen for signals. `resumes`: what the command has done is kept, and the same command goes on
/// from there. Without it, for example if no thread can be started, signals end the program.
pub fn listen(resumes: bool) {
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || {
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
        for signal in signals.forever() {
            let again = RECEIVED.swap(signal, Ordering::Relaxed) != 0;
            if !resumes && !again {
                print::note("stopped without a result; this command keeps nothing for the next time");
            }
            if again || !resumes {
                std::process::exit(i32::from(exit_code(signal)));
            }
            print::note("stopping at the next step; a second signal stops at once");
            let ended = std::thread::Builder::new().name("grace".into()).spawn(move || {
                std::thread::sleep(GRACE);
                print::note(&kept());
                std::process::exit(i32::from(exit_code(signal)));
            });
            if ended.is_err() {
                std::process::exit(i32::from(exit_code(signal)));
            }
        }
    });
}

/// Says what a command that stopped was doing, and what is left.
pub fn kept() -> String {
    let place = stage::described().map(|place| format!(" in the stage `{place}`")).unwrap_or_default();
    let cache = Cache::of_user();
    let folder = cache.folder().map(|folder| format!(" in {}", folder.display())).unwrap_or_default();
    format!(
        "stopped{place}, without a result; embeddings and checkpoints are kept{folder}, so the same command \
         goes on from here"
    )
}
