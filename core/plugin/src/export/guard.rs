//! Guards every call: a panic becomes an error, and calls can be refused from some point on.
//!
//! A panic must not unwind across the ABI, so it is caught in the plugin. Each plugin links its own `std` and
//! has its own panic hook. The hook runs on the thread that panicked, which may be a rayon worker and not the
//! thread that catches the panic; so the hook records the panic, and [`call`] looks it up.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use chiasm_abi::{Code, Reply};
use serde_json::json;

use super::to_abi;
use crate::{Error, Result};

/// A panic recorded by the hook.
#[derive(Clone)]
struct PanicRecord {
    message: String,
    at: String,
}

/// The number of panics of all threads that are kept.
const MAX_RECENT_PANICS: usize = 8;

static RECENT_PANICS: Mutex<Vec<PanicRecord>> = Mutex::new(Vec::new());

thread_local! {
    static LAST_PANIC: RefCell<Option<PanicRecord>> = const { RefCell::new(None) };
}

/// The number of active calls. The top bit is set once calls are refused.
static ACTIVE_CALLS: AtomicUsize = AtomicUsize::new(0);
const QUIESCED_BIT: usize = 1 << (usize::BITS - 1);

/// Runs `work` and converts a panic to an error with file and line.
pub fn call<T>(work: impl FnOnce() -> Result<T>) -> Reply<T> {
    let Some(_running) = CallGuard::enter() else {
        let message = "the plugin has been shut down and accepts no more calls";
        return Err(to_abi(Error::new(Code::QUIESCED, message))).into();
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(to_abi).into(),
        Err(payload) => Err(to_abi(explain(payload))).into(),
    }
}

/// Runs `work` and discards a panic, for drops, which cannot return an error.
pub fn ignore_panics(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        let _ = explain(payload);
    }
}

/// Refuses further calls, and returns when the active calls have ended.
pub extern "C" fn quiesce() {
    ACTIVE_CALLS.fetch_or(QUIESCED_BIT, Ordering::AcqRel);
    while ACTIVE_CALLS.load(Ordering::Acquire) != QUIESCED_BIT {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Installs a panic hook that records panics instead of printing them.
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let at = info.location().map(ToString::to_string).unwrap_or_default();
            let seen = PanicRecord { message: text(info.payload()), at };
            let mut anywhere = RECENT_PANICS.lock().unwrap_or_else(PoisonError::into_inner);
            if anywhere.len() == MAX_RECENT_PANICS {
                anywhere.remove(0);
            }
            anywhere.push(seen.clone());
            drop(anywhere);
            // The local storage of an ending thread may be gone; `RECENT_PANICS` has the panic in any case.
            let _ = LAST_PANIC.try_with(|here| here.replace(Some(seen)));
        }));
    });
}

struct CallGuard;

impl CallGuard {
    fn enter() -> Option<Self> {
        if ACTIVE_CALLS.fetch_add(1, Ordering::AcqRel) & QUIESCED_BIT == 0 {
            Some(Self)
        } else {
            ACTIVE_CALLS.fetch_sub(1, Ordering::AcqRel);
            None
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        ACTIVE_CALLS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Returns the error of a caught panic: its place, and the earlier panics of other threads.
fn explain(payload: Box<dyn Any + Send>) -> Error {
    let message = text(payload.as_ref());
    std::mem::forget(payload); // its drop might panic too
    let mut others = std::mem::take(&mut *RECENT_PANICS.lock().unwrap_or_else(PoisonError::into_inner));
    let here = LAST_PANIC.with(|here| here.take()).filter(|seen| seen.message == message);
    // If this thread did not panic, the panic came from a rayon worker: take the latest with the same
    // message.
    let seen = here.or_else(|| others.iter().rev().find(|seen| seen.message == message).cloned());
    let at = seen.map_or_else(String::new, |seen| seen.at);
    others.retain(|seen| seen.at != at);
    let others: Vec<String> =
        others.into_iter().map(|seen| format!("{} at {}", seen.message, seen.at)).collect();
    let place = if at.is_empty() { String::new() } else { format!(" at {at}") };
    Error::new(Code::PANICKED, format!("panicked{place}: {message}"))
        .with_detail(json!({ "at": at, "other_threads": others }))
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no text)".to_owned())
}
