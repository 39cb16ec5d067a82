//! CSV and TSV: a header line, then one row per line, quoted as in RFC 4180.
//!
//! An empty cell is null, a cell that is a JSON list is a list, and any other cell is a text. In a column of
//! values, numbers and booleans are read as such.

use super::rows::{DatasetBuilder, LONGEST_LINE};
use csv::{ByteRecord, ReaderBuilder, StringRecord};
use serde_json::Value;
use std::{
    cell::Cell,
    collections::HashMap,
    fs::File,
    io::{self, Read},
    rc::Rc,
};

/// Reads every line into `rows`. `delimiter` separates the cells.
pub(super) fn read(file: File, delimiter: u8, rows: &mut DatasetBuilder<'_>) -> Result<(), String> {
    let left = Rc::new(Cell::new(LONGEST_LINE));
    let limited = LimitedReader { inner: file, left: Rc::clone(&left) };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(limited);
    let header = reader.headers().map_err(failed)?.clone();
    let columns = places(&header)?;
    rows.add_columns(columns.keys().copied());
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
            Err(error) => rows.add_error(&place, &error),
        }
    }
}

fn failed(error: csv::Error) -> String {
    format!("cannot read it: {error}")
}

/// Returns the index of each column. Columns without a name are ignored.
fn places(header: &StringRecord) -> Result<HashMap<&str, usize>, String> {
    let mut places = HashMap::new();
    for (at, name) in header.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if places.insert(name, at).is_some() {
            return Err(format!("two columns in the header line are named `{name}`"));
        }
    }
    Ok(places)
}

/// Returns the cells of one line that are needed, by column.
fn row<'h>(
    record: &ByteRecord,
    header: &StringRecord,
    columns: &HashMap<&'h str, usize>,
    rows: &DatasetBuilder<'_>,
) -> Result<HashMap<&'h str, Value>, String> {
    let (expected, got) = (header.len(), record.len());
    if got != expected {
        return Err(format!("expected {expected} cells as in the header line, got {got}"));
    }
    let wanted = columns.iter().filter(|(name, _)| rows.needs(name));
    let cells = wanted.map(|(name, at)| {
        let text = std::str::from_utf8(&record[*at]);
        let text = text.map_err(|error| format!("column `{name}` is not UTF-8: {error}"))?;
        Ok((*name, cell(text).map_err(|error| format!("column `{name}`: {error}"))?))
    });
    cells.collect()
}

/// Returns null for an empty cell, a list for a JSON list, else the text.
fn cell(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let trimmed = text.trim();
    if trimmed.starts_with('[') {
        match serde_json::from_str(trimmed) {
            Ok(list) => return Ok(list),
            // `["x"` was meant as a list; "[music] plays" is a text.
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

/// Returns a number or boolean if the text is one. An integer that does not fit into 64 bits stays a text.
fn typed(cell: Value) -> Value {
    let Value::String(text) = &cell else { return cell };
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if number.is_f64() && !text.contains(['.', 'e', 'E']) => cell,
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => cell,
    }
}

/// A reader that fails after `left` bytes.
struct LimitedReader<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for LimitedReader<R> {
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
