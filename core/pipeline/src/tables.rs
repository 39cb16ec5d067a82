//! Small files that verbs read and write: tables of raw inputs, arrays of outputs, a run's stored control.

use crate::{
    Error,
    encoder::Raw,
    evaluate::Control,
    opened::{Opened, Outputs},
    write::METRICS,
};
use npyz::WriterBuilder;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use zip::{ZipWriter, write::SimpleFileOptions};

impl Opened<'_> {
    /// Rows of raw inputs from a JSONL file: one column per modality, the same columns in every row.
    ///
    /// # Errors
    /// When the file cannot be read, or a row is not as the first one is; the line is named.
    pub fn read_table(&self, path: &Path) -> Result<BTreeMap<String, Vec<Raw>>, Error> {
        let code = "chiasm::run::table";
        let bad = |line: usize, what: String| {
            let help = "one JSON object a line, with a string or row number for each modality";
            Error::input(code, format!("{}:{line}: {what}", path.display()), help)
        };
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut columns: BTreeMap<String, Vec<Raw>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let row: Value = serde_json::from_str(line).map_err(|e| bad(index + 1, e.to_string()))?;
            for modality in &self.manifest.modalities {
                let value = match &row[&modality.name] {
                    Value::Null => continue,
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let raw = Raw::of(&value, self.takes(&modality.name)?, folder);
                columns.entry(modality.name.clone()).or_default().push(raw);
            }
            let lengths: Vec<usize> = columns.values().map(Vec::len).collect();
            if lengths.windows(2).any(|w| w[0] != w[1]) || columns.is_empty() {
                let names: Vec<&str> = self.manifest.modalities.iter().map(|m| m.name.as_str()).collect();
                return Err(bad(
                    index + 1,
                    format!("expected the columns of the first row, among {}", names.join(", ")),
                ));
            }
        }
        Ok(columns)
    }
}

/// Writes outputs as the arrays of one .npz.
///
/// # Errors
/// When the disk refuses; nothing is left under that name then.
pub fn write_npz(path: &Path, outputs: &Outputs) -> Result<(), Error> {
    let temporary = path.with_extension("npz.tmp");
    let written = npz(&temporary, outputs).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary); // best effort: the error below is what matters
        Error::io("write", path, e)
    })
}

fn npz(path: &Path, outputs: &Outputs) -> std::io::Result<()> {
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
pub fn stored_control(run: &Path) -> Result<Option<Control>, Error> {
    let path = run.join(METRICS);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let metrics: Value = serde_json::from_str(&text).map_err(|e| {
        Error::input("chiasm::run::damaged", format!("{}: {e}", path.display()), "fit the run again")
    })?;
    Ok(serde_json::from_value(metrics["shuffled_pairs"].clone()).ok())
}
