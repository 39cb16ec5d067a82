//! JSON lines: one object a line; empty lines are passed over.

use super::rows::{LONGEST_LINE, Rows};
use serde_json::{Map, Value};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
};

/// Reads every line into `rows`.
pub(super) fn read(file: File, rows: &mut Rows<'_>) -> Result<(), String> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line);
        if read.map_err(|error| format!("cannot read it: {error}"))? == 0 {
            break;
        }
        let place = format!("line {number}");
        if line.len() as u64 > LONGEST_LINE {
            return Err(format!("{place} is longer than {} MiB", LONGEST_LINE >> 20));
        }
        let bom: &[u8] = if number == 1 { b"\xef\xbb\xbf" } else { b"" };
        let text = line.strip_prefix(bom).unwrap_or(&line);
        if text.trim_ascii().is_empty() {
            continue;
        }
        match object(text) {
            Ok(object) => {
                rows.has(object.keys().map(String::as_str));
                let cell = |name: &str| object.get(name).cloned().unwrap_or_default();
                rows.push(&place, cell, cell);
            }
            Err(complaint) => rows.complain(&place, &complaint),
        }
    }
    Ok(())
}

fn object(line: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!("expected one JSON object a line, got {}", super::cells::shown(&other))),
        Err(error) => Err(format!("not JSON (one object a line is expected): {error}")),
    }
}
