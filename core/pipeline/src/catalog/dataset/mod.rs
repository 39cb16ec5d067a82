//! Datasets: one row per thing, each with zero, one or several items of every modality.
//!
//! ```text
//! pairs.jsonl     one JSON object a line             {"image": "a.png", "captions": ["x", "y"], "frame": 3}
//! pairs.csv       a header line, then one row a line       a.png,"[""x"", ""y""]",3
//! pairs.parquet   columns of texts, integers, lists of these
//! ```
//! A cell that is absent, null, `""` or `[]` holds no item: the row lacks that modality. The same content
//! gives the same rows in each format, but for whole numbers in CSV, which are texts until an adapter asks
//! for rows.

mod cells;
mod csv;
mod jsonl;
mod parquet;
mod rows;
mod splits;
mod table;
#[cfg(test)]
mod tests;

pub use cells::{Cell, Items, items};
pub use splits::Split;
pub use table::{Columns, Dataset};

use crate::base::problem::{Problem, Problems};
use rows::Rows;
use std::{fs::File, path::Path};

impl Dataset {
    /// Reads columns of the file at `path`; its extension says the format.
    ///
    /// Without a column that names the splits, every fifth row (row mod 5 = 0) is test and the others are
    /// train.
    ///
    /// # Errors
    /// An unknown extension, a file that cannot be read, columns that it lacks, or every bad row, the first
    /// few with their lines: not JSON, a cell of the wrong kind, no item, no value, an unknown split, a
    /// repeated id.
    pub fn read(path: &Path, columns: Columns<'_>) -> Result<Self, Problems> {
        let failed = |message| Problem::new("chiasm::data::file", format!("{}: {message}", path.display()));
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let mut rows = Rows::new(columns);
        let read: fn(File, &mut Rows<'_>) -> Result<(), String> = match extension.as_str() {
            "jsonl" | "ndjson" | "json" => jsonl::read,
            "csv" => |file, rows| csv::read(file, b',', rows),
            "tsv" => |file, rows| csv::read(file, b'\t', rows),
            "parquet" => parquet::read,
            _ => {
                let message = format!("its extension {extension:?} names no format of rows that is known");
                let known = ".jsonl, .ndjson or .json (one JSON object a line), .csv, .tsv and .parquet";
                return Err(failed(message).help(format!("the formats are {known}")).into());
            }
        };
        open(path).and_then(|file| read(file, &mut rows)).map_err(failed)?;
        rows.finish(path)
    }
}

/// Opens a regular file; a device or a pipe might never end.
fn open(path: &Path) -> Result<File, String> {
    let failed = |error| format!("cannot read it: {error}");
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err("expected a file, got a folder or a device".into());
    }
    File::open(path).map_err(failed)
}
