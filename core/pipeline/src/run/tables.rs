//! Small files that verbs read and write: tables of raw inputs, arrays of outputs, a run's stored control.

use super::{
    evaluate::{Metrics, RetrievalSummary},
    files::{METRICS, read_json},
    infer::RawInputs,
    open::{Run, RunOutputs},
};
use crate::{base::error::Error, catalog::raw::RawItem};
use npyz::WriterBuilder;
use serde_json::Value;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use zip::{ZipWriter, write::SimpleFileOptions};

impl Run<'_> {
    /// Rows of raw inputs from a JSONL file: one column per modality, in every row those of the first one;
    /// other columns are not looked at.
    ///
    /// # Errors
    /// When the file cannot be read, holds no row, or a row is not as the first one is; the line is named.
    pub fn read_table(&self, path: &Path) -> Result<RawInputs, Error> {
        let bad = |line: usize, what: String| {
            let help = "one JSON object a line, with one string or row number for each modality";
            Error::input("chiasm::run::table", format!("{}:{line}: {what}", path.display()), help)
        };
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let names = self.names();
        let mut first: Option<Vec<&str>> = None;
        let mut columns = RawInputs::new();
        for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let bad = |what: String| bad(index + 1, what);
            let row: Value = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
            let here: Vec<&str> = names.iter().copied().filter(|name| !is_absent(&row[*name])).collect();
            if here.is_empty() {
                return Err(bad(format!("expected some of {}, got none of them", names.join(", "))));
            }
            let first = first.get_or_insert_with(|| here.clone());
            if *first != here {
                let (expected, got) = (first.join(", "), here.join(", "));
                return Err(bad(format!("expected {expected}, as in the first row, got {got}")));
            }
            for name in here {
                let written = match &row[name] {
                    Value::String(text) => text.clone(),
                    Value::Number(number) if number.is_u64() => number.to_string(),
                    other => return Err(bad(format!("expected one {name}, got {other}"))),
                };
                let raw = RawItem::parse(&written, self.takes(name)?, folder);
                let raw = raw.map_err(|what| bad(format!("{name}: {what}")))?;
                columns.entry(name.to_owned()).or_default().push(raw);
            }
        }
        if columns.is_empty() {
            return Err(bad(1, "expected rows, got none".to_owned()));
        }
        Ok(columns)
    }
}

/// Whether a cell holds no item: null, an empty text or an empty list.
fn is_absent(cell: &Value) -> bool {
    match cell {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// Writes outputs as the arrays of one .npz.
///
/// # Errors
/// When the disk refuses; nothing is left under that name then.
pub fn write_npz(path: &Path, outputs: &RunOutputs) -> Result<(), Error> {
    let temporary = path.with_extension("npz.tmp");
    let written = npz(&temporary, outputs).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // best effort: the error below is what matters
        Error::io("write", path, e)
    })
}

fn npz(path: &Path, outputs: &RunOutputs) -> std::io::Result<()> {
    let mut archive = ZipWriter::new(BufWriter::new(File::create(path)?));
    for (name, matrix) in outputs {
        archive
            .start_file(format!("{name}.npy"), SimpleFileOptions::default())
            .map_err(std::io::Error::other)?;
        let shape = [matrix.nrows() as u64, matrix.ncols() as u64];
        let mut bytes = Vec::new();
        let mut npy =
            npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
        npy.extend(matrix.iter())?;
        npy.finish()?;
        archive.write_all(&bytes)?;
    }
    archive.finish().map_err(std::io::Error::other)?.flush()
}

/// The shuffled-pairs control that a fit stored: it needs a fit of its own, so `eval` does not make it again.
///
/// # Errors
/// When the run has no readable metrics.
pub fn stored_shuffled_pairs(run: &Path) -> Result<Option<RetrievalSummary>, Error> {
    Ok(read_json::<Metrics>(run, METRICS)?.shuffled_pairs)
}
