//! Printing errors on stderr: drawn for people, or with `--format json` as one line of JSON.

use crate::{modality_flags, print};
use chiasm_pipeline::{Error, ErrorReport, visible};
use comfy_table::Table;
use miette::Diagnostic;
use serde_json::json as object;
use std::{ffi::OsString, io::IsTerminal, process::ExitCode};

/// The width of messages off a terminal, and the largest one.
const WIDTH: usize = 100;
/// Narrower terminals wrap the lines themselves.
const LEAST_WIDTH: usize = 30;

/// Prints an error, with its location in the recipe if it has one.
pub fn print(error: &Error, json: bool) {
    if json {
        return print_json(&ErrorReport::of(error));
    }
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(theme()).with_width(width());
    let drawn = match error {
        Error::Problems(problems) => handler.render_report(&mut text, problems as &dyn Diagnostic),
        other => handler.render_report(&mut text, &PlainMessage(visible(&other.to_string()).into_owned())),
    };
    match drawn {
        Ok(()) => print::drawn(text.trim_end()),
        Err(_) => print::note(&format!("error: {error}")),
    }
}

/// Prints what is wrong with the arguments, or the help that they ask for; returns the exit code.
///
/// The flags of modalities are those of the run folder. If it cannot be read, that is the error, and not the
/// flags that are therefore unknown.
pub fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let json = wants_json(arguments);
    if error.kind() == clap::error::ErrorKind::UnknownArgument
        && let Some(unread) = modality_flags::unread_run(arguments)
    {
        print(&unread, json);
        return ExitCode::from(unread.exit_code());
    }
    if json && error.use_stderr() {
        let text = error.to_string();
        print_json(&ErrorReport::usage(text.trim_start_matches("error: ").trim_end().to_owned()));
    } else {
        // Nothing more can be done if stderr is closed.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Prints one line, the last one of stderr.
fn print_json(report: &ErrorReport) {
    print::drawn(&print::escaped_json(&object!({ "error": report }).to_string()));
}

/// Whether arguments that could not be parsed ask for JSON.
fn wants_json(arguments: &[OsString]) -> bool {
    let mut pairs = arguments.windows(2);
    pairs.any(|pair| pair[0] == "--format" && pair[1] == "json")
        || arguments.iter().any(|argument| argument == "--format=json")
}

/// Returns the width of the terminal, or that of messages off a terminal.
fn width() -> usize {
    let columns = Table::new().use_stderr().width();
    columns.map_or(WIDTH, |columns| usize::from(columns).clamp(LEAST_WIDTH, WIDTH))
}

fn theme() -> miette::GraphicalTheme {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colour { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::unicode_nocolor() }
}

/// A diagnostic with only a message.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct PlainMessage(String);

impl Diagnostic for PlainMessage {}
