//! The wall around every call: panics become errors, and the plugin can be brought to rest.
//!
//! A panic must be caught inside the plugin's own code: it may not unwind across the ABI. Each plugin has its own `std`, so its
//! own panic hook; the hook only remembers what it saw, because the hook runs on the thread that panicked, which for a rayon
//! worker is not the one that catches.

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

/// A panic as the hook saw it.
#[derive(Clone)]
struct PanicRecord {
    message: String,
    at: String,
}

/// How many panics of other threads are remembered.
const MAX_RECENT_PANICS: usize = 8;

static RECENT_PANICS: Mutex<Vec<PanicRecord>> = Mutex::new(Vec::new());

thread_local! {
    static LAST_PANIC: RefCell<Option<PanicRecord>> = const { RefCell::new(None) };
}

/// Calls under way; the top bit says that no more are taken.
static ACTIVE_CALLS: AtomicUsize = AtomicUsize::new(0);
const QUIESCED_BIT: usize = 1 << (usize::BITS - 1);

/// Runs `work`; a panic becomes an error with file and line.
pub fn call<T>(work: impl FnOnce() -> Result<T>) -> Reply<T> {
    let Some(_running) = CallGuard::enter() else {
        let message = "the plugin was brought to rest and takes no more calls";
        return Err(to_abi(Error::new(Code::QUIESCED, message))).into();
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(to_abi).into(),
        Err(payload) => Err(to_abi(explain(payload))).into(),
    }
}

/// Runs `work` and forgets a panic: for drops, which have nobody to tell.
pub fn ignore_panics(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        let _ = explain(payload);
    }
}

/// Takes no more calls, and returns when those under way have ended.
pub extern "C" fn quiesce() {
    ACTIVE_CALLS.fetch_or(QUIESCED_BIT, Ordering::AcqRel);
    while ACTIVE_CALLS.load(Ordering::Acquire) != QUIESCED_BIT {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Installs the hook that remembers panics instead of printing them.
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
            // A thread that is ending has no local storage left; its panic is remembered above all the same.
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

/// The error for a caught panic: where it was, and which other threads panicked before it.
fn explain(payload: Box<dyn Any + Send>) -> Error {
    let message = text(payload.as_ref());
    std::mem::forget(payload); // its drop might panic too
    let mut others = std::mem::take(&mut *RECENT_PANICS.lock().unwrap_or_else(PoisonError::into_inner));
    let here = LAST_PANIC.with(|here| here.take()).filter(|seen| seen.message == message);
    // Not on this thread: a rayon worker's panic travelled here. The newest with the same words is it.
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
