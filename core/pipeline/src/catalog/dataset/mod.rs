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
#[cfg(test)]
mod tests;

pub use cells::{Cell, Items, items};
pub use splits::Split;

use crate::base::problem::{Problem, Problems};
use rows::Rows;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

/// The longest line of a text file, in bytes; a longer one is refused before it is held whole.
const LONGEST_LINE: u64 = 64 << 20;

/// The columns to read beside `id`.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Raw items.
    pub inputs: &'a [&'a str],
    /// Anything but null: labels, answers, numbers.
    pub values: &'a [&'a str],
    /// The column that names each row's split; for `None`, `split` where the file has such a column.
    pub split: Option<&'a str>,
}

/// The rows of a file: lists of the same length, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The folder that relative paths in cells start from.
    pub folder: PathBuf,
    /// Each row's name: its column `id`, else its number counted from 1; no two are the same.
    pub ids: Vec<String>,
    /// Each row's split.
    pub splits: Vec<Split>,
    columns: BTreeMap<String, Vec<Vec<Cell>>>,
    values: BTreeMap<String, Vec<Value>>,
}

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

    /// Rows of files of vectors that belong together by position: row i of every column is row i of its file.
    pub fn by_position(count: u64, columns: &[&str]) -> Self {
        let cells: Vec<Vec<Cell>> = (0..count).map(|row| vec![Cell::Row(row)]).collect();
        Self {
            folder: PathBuf::new(),
            ids: (0..count).map(|row| row.to_string()).collect(),
            splits: (0..cells.len()).map(Split::by_position).collect(),
            columns: columns.iter().map(|name| ((*name).to_owned(), cells.clone())).collect(),
            values: BTreeMap::new(),
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The items of each row in a column of inputs, possibly none; empty for a column that was not read.
    pub fn column(&self, name: &str) -> &[Vec<Cell>] {
        self.columns.get(name).map_or(&[], Vec::as_slice)
    }

    /// The values of a column, one a row; empty for a column that was not read.
    pub fn values(&self, name: &str) -> &[Value] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The rows of a split, in order.
    pub fn rows_of(&self, split: Split) -> Vec<usize> {
        (0..self.len()).filter(|&row| self.splits[row] == split).collect()
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
