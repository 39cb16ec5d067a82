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
struct Seen {
    message: String,
    at: String,
}

/// How many panics of other threads are remembered.
const REMEMBERED: usize = 8;

static ANYWHERE: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

thread_local! {
    static HERE: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Calls under way; the top bit says that no more are taken.
static CALLS: AtomicUsize = AtomicUsize::new(0);
const RESTING: usize = 1 << (usize::BITS - 1);

/// Runs `work`; a panic becomes an error with file and line.
pub fn call<T>(work: impl FnOnce() -> Result<T>) -> Reply<T> {
    let Some(_running) = Running::enter() else {
        let message = "the plugin was brought to rest and takes no more calls";
        return Err(to_abi(Error::new(Code::QUIESCED, message))).into();
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(to_abi).into(),
        Err(payload) => Err(to_abi(explain(payload))).into(),
    }
}

/// Runs `work` and forgets a panic: for drops, which have nobody to tell.
pub fn quietly(work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        let _ = explain(payload);
    }
}

/// Takes no more calls, and returns when those under way have ended.
pub extern "C" fn quiesce() {
    CALLS.fetch_or(RESTING, Ordering::AcqRel);
    while CALLS.load(Ordering::Acquire) != RESTING {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Installs the hook that remembers panics instead of printing them.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let at = info.location().map(ToString::to_string).unwrap_or_default();
            let seen = Seen { message: text(info.payload()), at };
            let mut anywhere = ANYWHERE.lock().unwrap_or_else(PoisonError::into_inner);
            if anywhere.len() == REMEMBERED {
                anywhere.remove(0);
            }
            anywhere.push(seen.clone());
            drop(anywhere);
            // A thread that is ending has no local storage left; its panic is remembered above all the same.
            let _ = HERE.try_with(|here| here.replace(Some(seen)));
        }));
    });
}

struct Running;

impl Running {
    fn enter() -> Option<Self> {
        if CALLS.fetch_add(1, Ordering::AcqRel) & RESTING == 0 {
            Some(Self)
        } else {
            CALLS.fetch_sub(1, Ordering::AcqRel);
            None
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The error for a caught panic: where it was, and which other threads panicked before it.
fn explain(payload: Box<dyn Any + Send>) -> Error {
    let message = text(payload.as_ref());
    std::mem::forget(payload); // its drop might panic too
    let mut others = std::mem::take(&mut *ANYWHERE.lock().unwrap_or_else(PoisonError::into_inner));
    let here = HERE.with(|here| here.take()).filter(|seen| seen.message == message);
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
