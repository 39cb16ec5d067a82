//! Panics: a fault of the program is an error like any other, and not a message of the Rust runtime.

use chiasm_pipeline::Error;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

/// The message and the place of the latest panic.
static LATEST: Mutex<Option<String>> = Mutex::new(None);

/// What the standard library says where a panic cannot be caught: it ends the process.
const FATAL: &str = "panic in a ";

/// Records panics instead of printing them: most are caught where a damaged file is read, and become errors
/// there. One that ends the process at once is printed.
pub fn record() {
    std::panic::set_hook(Box::new(|panic| {
        let place =
            panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        let message = format!("{}{place}", panic.payload_as_str().unwrap_or("no message"));
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        if message.starts_with(FATAL) {
            let first = latest.as_deref().map_or_else(String::new, |first| format!("{first}; "));
            crate::print::note(&format!("internal error: {first}{message}"));
        }
        *latest = Some(message);
    }));
}

/// Runs `work`; a panic is an internal error.
pub fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        std::mem::forget(payload); // its drop might panic too
        let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(Error::Internal(latest.unwrap_or_else(|| "a panic without a message".to_owned())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message_and_place() {
        record();
        let error = caught(|| -> Result<(), Error> { panic!("row {}", 7) }).unwrap_err();
        let _ = std::panic::take_hook();
        let text = error.to_string();
        assert!(text.contains("row 7 at ") && text.contains("panics.rs:"), "{text}");
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
    }
}
