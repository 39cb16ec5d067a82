//! Tables of text: a header line, then one row a line, quoted as RFC 4180 says.
//!
//! A cell that is a JSON list is a list; an empty cell holds nothing; any other cell is a text. In a column
//! of values a number or a truth value is read as such.

use super::rows::{LONGEST_LINE, Rows};
use csv::{ByteRecord, ReaderBuilder, StringRecord};
use serde_json::Value;
use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io::{self, Read},
    rc::Rc,
};

/// Reads every line into `rows`; `delimiter` stands between cells.
pub(super) fn read(file: File, delimiter: u8, rows: &mut Rows<'_>) -> Result<(), String> {
    let left = Rc::new(Cell::new(LONGEST_LINE));
    let limited = Limited { inner: file, left: Rc::clone(&left) };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(limited);
    let header = reader.headers().map_err(failed)?.clone();
    let columns = places(&header)?;
    rows.has(columns.keys().copied());
    if !rows.missing().is_empty() {
        return Ok(());
    }
    let mut record = ByteRecord::new();
    loop {
        left.set(LONGEST_LINE);
        if !reader.read_byte_record(&mut record).map_err(failed)? {
            return Ok(());
        }
        let place = format!("line {}", record.position().map_or(0, csv::Position::line));
        match row(&record, &header, &columns, rows) {
            Ok(cells) => {
                let item = |name: &str| cells.get(name).cloned().unwrap_or_default();
                rows.push(&place, item, |name| typed(item(name)));
            }
            Err(complaint) => rows.complain(&place, &complaint),
        }
    }
}

fn failed(error: csv::Error) -> String {
    format!("cannot read it: {error}")
}

/// Where each column is; columns without a name are passed over.
fn places(header: &StringRecord) -> Result<HashMap<&str, usize>, String> {
    let mut places = HashMap::new();
    for (at, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if places.insert(name, at).is_some() {
            return Err(format!("two columns of the header line are named `{name}`"));
        }
    }
    Ok(places)
}

/// The cells of one line that are wanted, by column.
fn row<'h>(
    record: &ByteRecord,
    header: &StringRecord,
    columns: &HashMap<&'h str, usize>,
    rows: &Rows<'_>,
) -> Result<HashMap<&'h str, Value>, String> {
    let (expected, got) = (header.len(), record.len());
    if got != expected {
        return Err(format!("expected {expected} cells as in the header line, got {got}"));
    }
    let wanted = columns.iter().filter(|(name, _)| rows.wants(name));
    let cells = wanted.map(|(name, at)| {
        let text = std::str::from_utf8(&record[*at]);
        let text = text.map_err(|error| format!("column `{name}` is not UTF-8: {error}"))?;
        Ok((*name, cell(text).map_err(|complaint| format!("column `{name}`: {complaint}"))?))
    });
    cells.collect()
}

/// Null for an empty cell, a list for a JSON list, else the text itself.
fn cell(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let trimmed = text.trim();
    if trimmed.starts_with('[') {
        match serde_json::from_str(trimmed) {
            Ok(list) => return Ok(list),
            // "[music] plays" is a text; this was meant as a list.
            Err(error)
                if ["[\"", "['"].iter().any(|start| trimmed.starts_with(start)) && trimmed.ends_with(']') =>
            {
                return Err(format!("a list must be JSON, such as [\"a\", \"b\"]: {error}"));
            }
            Err(_) => {}
        }
    }
    Ok(Value::String(text.to_owned()))
}

/// A number or a truth value where the text is one; digits too many for a number stay a text.
fn typed(cell: Value) -> Value {
    let Value::String(text) = &cell else { return cell };
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if number.is_f64() && !text.contains(['.', 'e', 'E']) => cell,
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => cell,
    }
}

/// A reader that refuses to give more than `left` bytes.
struct Limited<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64).ok_or_else(|| {
            let message = format!("a line is longer than {} MiB (is a quote left open?)", LONGEST_LINE >> 20);
            io::Error::other(message)
        })?;
        self.left.set(left);
        Ok(read)
    }
}
