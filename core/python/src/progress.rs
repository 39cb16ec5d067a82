//! Progress reports as calls of a Python object.

use crate::interruptible::StopFlag;
use chiasm_pipeline::Reporter;
use pyo3::prelude::*;
use std::sync::Arc;

/// Calls the methods `begin(stage, total)`, `advance(done)`, `status(text)`, `end()` and `note(message)` of a
/// Python object. An exception of theirs is shown, and the work goes on.
pub struct PythonReporter {
    listener: Option<Py<PyAny>>,
    stop: StopFlag,
}

impl PythonReporter {
    /// Returns a reporter to `listener`, if there is one. The flag asks long work to end.
    pub fn new(listener: Option<Py<PyAny>>, stop: &StopFlag) -> Arc<Self> {
        Arc::new(Self { listener, stop: stop.clone() })
    }

    fn call(&self, method: &str, arguments: impl for<'py> pyo3::call::PyCallArgs<'py>) {
        let Some(listener) = &self.listener else { return };
        Python::attach(|py| {
            if let Err(error) = listener.bind(py).call_method1(method, arguments) {
                error.print(py);
            }
        });
    }
}

impl Reporter for PythonReporter {
    fn begin(&self, stage: &str, total: u64) {
        self.call("begin", (stage, total));
    }

    fn advance(&self, done: u64) {
        self.call("advance", (done,));
    }

    fn status(&self, text: &str) {
        self.call("status", (text,));
    }

    fn end(&self) {
        self.call("end", ());
    }

    fn note(&self, message: &str) {
        self.call("note", (message,));
    }

    fn stop_requested(&self) -> bool {
        self.stop.is_set()
    }
}
