//! A data file that is read from its start to its end, a block of rows at a time, so that the memory does not
//! depend on its size.

use super::{
    jsonl::stream::JsonLines,
    parquet::stream::ParquetRows,
    rows::{BLOCK_ROWS, Block},
};
use crate::base::{error::Error, problem::Problem};
use std::path::Path;

/// Some columns of a data file, read in blocks of [`BLOCK_ROWS`].
pub struct RowStream {
    columns: Vec<String>,
    rows: u64,
    format: Format,
    file: String,
}

enum Format {
    JsonLines(JsonLines),
    Parquet(Box<ParquetRows>),
}

impl RowStream {
    /// Opens a file of JSON lines or Parquet, and counts its rows. Of the columns `wanted`, those are read
    /// that the file has: in its schema, or in its first line.
    ///
    /// # Errors
    /// If the extension is unknown, the file cannot be read, or a column holds something else than texts,
    /// numbers, or lists of these.
    pub fn open(path: &Path, wanted: &[&str]) -> Result<Self, Error> {
        let file = path.display().to_string();
        let failed = |message: String| Problem::new("chiasm::data::file", format!("{file}: {message}"));
        let opened = || {
            let file = chiasm_host::open_file(path, u64::MAX);
            file.map_err(|error| failed(format!("cannot read it: {error}")))
        };
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let (columns, rows, format) = match extension.as_str() {
            "jsonl" | "ndjson" | "json" => {
                let (lines, columns) = JsonLines::open(opened()?, wanted).map_err(failed)?;
                (columns, lines.rows(), Format::JsonLines(lines))
            }
            "parquet" => {
                let (rows, columns) = ParquetRows::open(opened()?, wanted).map_err(failed)?;
                (columns, rows.rows(), Format::Parquet(Box::new(rows)))
            }
            other => {
                let problem = failed(format!("unknown file extension {other:?}"));
                return Err(problem.help("give .jsonl (one JSON object per line) or .parquet").into());
            }
        };
        Ok(Self { columns, rows, format, file })
    }

    /// Returns the names of the columns that are read.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the number of blocks.
    pub fn blocks(&self) -> u64 {
        self.rows.div_ceil(BLOCK_ROWS)
    }

    /// Reads a block. Blocks are read fastest in ascending order.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged. The message names the line or the row.
    pub fn block(&mut self, block: u64) -> Result<Block, Error> {
        let start = block * BLOCK_ROWS;
        let count = self.rows.saturating_sub(start).min(BLOCK_ROWS) as usize;
        let read = match &mut self.format {
            Format::JsonLines(lines) => lines.read(block, count, &self.columns),
            Format::Parquet(rows) => rows.read(start, count),
        };
        read.map_err(|what| Problem::new("chiasm::data::file", format!("{}: {what}", self.file)).into())
    }

    /// Describes a row of the file, for messages.
    pub fn place(&self, row: u64) -> String {
        format!("{}: row {}", self.file, row + 1)
    }
}
