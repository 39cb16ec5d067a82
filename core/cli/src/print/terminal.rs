//! Writing lines, JSON and tables to the terminal. Control characters in texts of files are escaped here.

use chiasm_pipeline::{is_unsafe, visible};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::{
    io::{Error, ErrorKind, Write, stderr, stdout},
    sync::OnceLock,
};

/// The first error of writing to stdout, except a closed pipe.
static FAILURE: OnceLock<Error> = OnceLock::new();

/// Prints a line on stdout, with control characters escaped. A closed pipe, as with `head`, is not an error.
pub fn line(text: &str) {
    safe_line(&visible(text));
}

fn safe_line(text: &str) {
    if let Err(error) = writeln!(stdout(), "{text}")
        && error.kind() != ErrorKind::BrokenPipe
    {
        FAILURE.get_or_init(|| error);
    }
}

/// Returns the first error of writing to stdout, e.g. a full disk.
pub fn failure() -> Option<&'static Error> {
    FAILURE.get()
}

/// Prints a message on stderr, with control characters escaped. Errors are ignored, since they cannot be
/// reported.
pub fn note(text: &str) {
    drawn(&visible(text));
}

/// Prints a message on stderr whose parts were escaped and may then have been coloured.
pub fn drawn(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}

/// Prints a value as indented JSON. Control characters are escaped as JSON does it.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => safe_line(&escaped_json(&text)),
        Err(error) => line(&format!("{{\"error\": {:?}}}", error.to_string())),
    }
}

/// Escapes the control characters that JSON allows in a string: those above the ASCII ones.
pub fn escaped_json(text: &str) -> String {
    let escaped = |c: char| {
        if is_unsafe(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
    };
    text.chars().map(escaped).collect()
}

fn visible_cells(rows: Vec<Vec<String>>) -> impl Iterator<Item = Vec<String>> {
    rows.into_iter().map(|row| row.iter().map(|cell| visible(cell).into_owned()).collect())
}

/// Prints a Markdown table. The first `left` columns are left-aligned, the others right-aligned.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, left: usize) {
    let mut table = Table::new();
    let header = header.iter().map(|cell| visible(cell).into_owned());
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    table.add_rows(visible_cells(rows));
    for (index, column) in table.column_iter_mut().enumerate() {
        if index >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    safe_line(&table.to_string());
}

/// Prints a Markdown table that is wrapped to the width of the terminal, or to 140 columns. The third column
/// is right-aligned. The first one may be coloured.
pub fn wrapped_table(header: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.to_vec());
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(140);
    }
    table.add_rows(rows.into_iter().map(|mut row| {
        row.iter_mut().skip(1).for_each(|cell| *cell = visible(cell).into_owned());
        row
    }));
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    safe_line(&table.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json_and_holds_no_control_characters() {
        let value = serde_json::json!({ "a\u{9b}": ["\u{1b}[2J", "\u{7f}\u{202e}", "b\n\tc"] });
        let text = escaped_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.contains(is_unsafe), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
