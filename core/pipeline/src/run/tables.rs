//! Reading tables of raw items, writing outputs as .npz, and reading the stored control of a run.

use super::{
    evaluate::{Metrics, RetrievalSummary},
    files::{MAX_TEXT, METRICS, read_json},
    infer::RawInputs,
    open::{Run, RunOutputs},
};
use crate::{base::error::Error, catalog::dataset::one_item, embed::batch_effect::BatchEffect};
use npyz::WriterBuilder;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use zip::{ZipWriter, write::SimpleFileOptions};

impl Run<'_> {
    /// Reads raw items from a JSONL file with one column per modality. Every row must have the modalities of
    /// the first row. Other columns are ignored.
    ///
    /// # Errors
    /// If the file cannot be read, has no rows, or has an invalid row. The message names the line.
    pub fn read_table(&self, path: &Path) -> Result<RawInputs, Error> {
        let bad = |line: usize, what: String| {
            let help = "give one JSON object per line, with one string or row number for each modality";
            Error::input("chiasm::run::table", format!("{}:{line}: {what}", path.display()), help)
        };
        let bytes = chiasm_host::read_file(path, MAX_TEXT);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
        let text = text.map_err(|e| Error::io("read", path, e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let names = self.names();
        let mut first: Option<Vec<&str>> = None;
        let mut columns = RawInputs::new();
        for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let bad = |what: String| bad(index + 1, what);
            let row: Value = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
            let here: Vec<&str> = names.iter().copied().filter(|name| !is_absent(&row[*name])).collect();
            if here.is_empty() {
                return Err(bad(format!("expected at least one of {}, got none", names.join(", "))));
            }
            let first = first.get_or_insert_with(|| here.clone());
            if *first != here {
                let (expected, got) = (first.join(", "), here.join(", "));
                return Err(bad(format!("expected {expected}, as in the first row, got {got}")));
            }
            for name in here {
                let raw = one_item(&row[name], name, self.takes(name)?, folder).map_err(bad)?;
                columns.entry(name.to_owned()).or_default().push(raw);
            }
        }
        if columns.is_empty() {
            return Err(bad(1, "expected rows, got none".to_owned()));
        }
        Ok(columns)
    }
}

/// Returns whether a cell holds no item: null, an empty text or an empty list.
fn is_absent(cell: &Value) -> bool {
    match cell {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// Writes outputs as the arrays of one .npz file.
///
/// # Errors
/// If the file cannot be written. An existing file is unchanged then.
pub fn write_npz(path: &Path, outputs: &RunOutputs) -> Result<(), Error> {
    let temporary = path.with_extension("npz.tmp");
    let written = npz(&temporary, outputs).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // best effort: the write error is reported
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

/// Reads the shuffled-pairs control that the fit stored in the run. It needs its own fit, so `eval` does not
/// compute it.
///
/// # Errors
/// If the metrics of the run cannot be read.
pub fn stored_shuffled_pairs(run: &Path) -> Result<Option<RetrievalSummary>, Error> {
    Ok(read_json::<Metrics>(run, METRICS)?.shuffled_pairs)
}

/// Reads how the vectors of each encoder depend on their batch, as the fit measured it.
///
/// # Errors
/// If the metrics of the run cannot be read.
pub fn stored_batch_effects(run: &Path) -> Result<BTreeMap<String, BatchEffect>, Error> {
    Ok(read_json::<Metrics>(run, METRICS)?.batch_effects)
}
