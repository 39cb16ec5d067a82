//! Work that Ctrl-C ends.

use crate::error::of_message;
use pyo3::prelude::*;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

/// The time between two looks at the signals.
const WAIT: Duration = Duration::from_millis(50);

/// Whether the work should end at its next step.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Returns whether the work should end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` in another thread without the interpreter's lock. Signals are handled meanwhile: one that
/// raises an exception (Ctrl-C) sets the flag, and the exception is raised once the work has ended.
pub fn interruptible<T: Send>(
    py: Python<'_>,
    stop: &StopFlag,
    work: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    let (sender, receiver) = mpsc::channel::<T>();
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            // The receiver is there until the thread has ended.
            let _ = sender.send(work());
        });
        let mut raised: Option<PyErr> = None;
        loop {
            let received =
                py.detach(|| receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(WAIT));
            match received {
                Ok(value) => return raised.map_or(Ok(value), Err),
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = py.check_signals() {
                        stop.0.store(true, Ordering::Relaxed);
                        raised.get_or_insert(error);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = worker.join(); // it panicked, which is an error here
                    let message = "internal error: the work ended with a panic; please report it";
                    return Err(raised.unwrap_or_else(|| of_message(py, "chiasm::internal", message)));
                }
            }
        }
    })
}
