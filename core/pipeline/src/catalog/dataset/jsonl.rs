//! JSON lines: one object per line. Empty lines are ignored.

pub(super) mod stream;

use super::rows::{DatasetBuilder, LONGEST_LINE};
use serde_json::{Map, Value};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
};

/// Reads every line into `rows`.
pub(super) fn read(file: File, rows: &mut DatasetBuilder<'_>) -> Result<(), String> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        let Some(text) = next_line(&mut reader, number, &mut line)? else { break };
        if text.is_empty() {
            continue;
        }
        let place = format!("line {number}");
        match object(text) {
            Ok(object) => {
                rows.add_columns(object.keys().map(String::as_str));
                let cell = |name: &str| object.get(name).cloned().unwrap_or_default();
                rows.push(&place, cell, cell);
            }
            Err(error) => rows.add_error(&place, &error),
        }
    }
    Ok(())
}

/// Reads the line with this number, counted from 1, into `line`. Returns its text without white space at its
/// ends, and `None` at the end of the file.
fn next_line<'l>(
    reader: &mut BufReader<File>,
    number: u64,
    line: &'l mut Vec<u8>,
) -> Result<Option<&'l [u8]>, String> {
    line.clear();
    let read = reader.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', line);
    if read.map_err(|error| format!("cannot read it: {error}"))? == 0 {
        return Ok(None);
    }
    if line.len() as u64 > LONGEST_LINE {
        return Err(format!("line {number} is longer than {} MiB", LONGEST_LINE >> 20));
    }
    let bom: &[u8] = if number == 1 { b"\xef\xbb\xbf" } else { b"" };
    Ok(Some(line.strip_prefix(bom).unwrap_or(line).trim_ascii()))
}

fn object(line: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!("expected one JSON object per line, got {}", super::cells::excerpt(&other))),
        Err(error) => Err(format!("not JSON (expected one object per line): {error}")),
    }
}
