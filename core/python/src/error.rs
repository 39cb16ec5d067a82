//! Errors of the pipeline as Python exceptions.

use chiasm_pipeline::{Error, Problem};
use miette::Diagnostic;
use pyo3::{create_exception, exceptions::PyException, prelude::*};

create_exception!(
    chiasm,
    ChiasmError,
    PyException,
    "An error of Chiasm. `code` names its kind, `help` says what to do, `place` is the file and line, if any."
);

/// Returns an exception with its kind, its help and its place.
pub fn exception(
    py: Python<'_>,
    code: &str,
    message: &str,
    help: Option<&str>,
    place: Option<&str>,
) -> PyErr {
    let lines =
        [Some(message.to_owned()), place.map(|at| format!("at {at}")), help.map(|h| format!("help: {h}"))];
    let text = lines.into_iter().flatten().collect::<Vec<_>>().join("\n");
    let error = ChiasmError::new_err(text);
    let value = error.value(py);
    let set = value
        .setattr("code", code)
        .and_then(|()| value.setattr("help", help))
        .and_then(|()| value.setattr("place", place));
    set.err().unwrap_or(error)
}

/// Converts an error of the pipeline.
pub fn of_pipeline(py: Python<'_>, error: &Error) -> PyErr {
    let Error::Problems(problems) = error else {
        let code = match error {
            Error::Io { .. } => "chiasm::file",
            Error::Graph { .. } => "chiasm::graph",
            Error::Runtime(_) => "chiasm::engine",
            Error::Host(_) => "chiasm::plugin",
            Error::Gate(_) => "chiasm::check",
            _ => "chiasm::internal",
        };
        return exception(py, code, &error.to_string(), None, None);
    };
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let Some(first) = problems.iter().next() else {
        return exception(py, "chiasm::input", &message, None, None);
    };
    let help = first.help().map(|help| help.to_string());
    exception(py, first.code_name(), &message, help.as_deref(), place(first).as_deref())
}

/// Returns the file and the line of a problem, if it has a location.
fn place(problem: &Problem) -> Option<String> {
    let span = *problem.labels()?.next()?.inner();
    let found = problem.source_code()?.read_span(&span, 0, 0).ok()?;
    Some(format!("{}:{}", found.name().unwrap_or("the recipe"), found.line() + 1))
}

/// Converts an error that has only a message.
pub fn of_message(py: Python<'_>, code: &str, error: impl ToString) -> PyErr {
    exception(py, code, &error.to_string(), None, None)
}
