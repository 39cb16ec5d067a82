//! Data files. Each row has zero, one or several items of every modality.
//!
//! ```text
//! pairs.jsonl     one JSON object a line             {"image": "a.png", "captions": ["x", "y"], "frame": 3}
//! pairs.csv       a header line, then one row a line       a.png,"[""x"", ""y""]",3
//! pairs.parquet   columns of texts, integers, lists of these
//! ```
//! If a cell is absent, null, `""` or `[]`, the row lacks that modality. The same content gives the same rows
//! in every format, with one exception: an integer in a CSV file is a text, unless the adapter takes row
//! numbers.

mod cells;
mod csv;
mod jsonl;
mod parquet;
mod rows;
mod splits;
mod stored;
mod stream;
mod table;
#[cfg(test)]
mod tests;

pub use cells::{ItemRef, RawItems, one_item, raw_items};
pub use rows::BLOCK_ROWS;
pub use splits::Split;
pub use stream::RowStream;
pub use table::{Dataset, DatasetColumns};

use crate::base::problem::{Problem, Problems};
use rows::DatasetBuilder;
use std::{fs::File, path::Path};

impl Dataset {
    /// Reads columns of the file at `path`. The extension determines the format.
    ///
    /// If no column names the splits, every fifth row (row mod 5 = 0) is test and the others are train.
    ///
    /// # Errors
    /// If the extension is unknown, the file cannot be read, or a column is missing; or if a row is invalid
    /// (not JSON, a cell of the wrong kind, no item, no value, an unknown split, a repeated id). The first
    /// few invalid rows are listed with their lines.
    pub fn read(path: &Path, columns: DatasetColumns<'_>) -> Result<Self, Problems> {
        let failed = |message| Problem::new("chiasm::data::file", format!("{}: {message}", path.display()));
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let mut rows = DatasetBuilder::new(columns);
        let read: fn(File, &mut DatasetBuilder<'_>) -> Result<(), String> = match extension.as_str() {
            "jsonl" | "ndjson" | "json" => jsonl::read,
            "csv" => |file, rows| csv::read(file, b',', rows),
            "tsv" => |file, rows| csv::read(file, b'\t', rows),
            "parquet" => parquet::read,
            _ => {
                let message = format!("unknown file extension {extension:?}");
                let known = ".jsonl, .ndjson or .json (one JSON object per line), .csv, .tsv and .parquet";
                return Err(failed(message).help(format!("the supported formats are {known}")).into());
            }
        };
        open(path).and_then(|file| read(file, &mut rows)).map_err(failed)?;
        rows.finish(path)
    }
}

/// Opens a regular file. Devices and pipes are refused, since reading them may never end.
fn open(path: &Path) -> Result<File, String> {
    chiasm_host::open_file(path, u64::MAX).map_err(|error| format!("cannot read it: {error}"))
}
