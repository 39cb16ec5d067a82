//! Reads a Parquet column of vectors into memory.

use std::fs::File;

use chiasm_parquet_pages::{ParquetPages, VectorRows};
use chiasm_plugin::Budget;

use crate::matrix::Matrix;

/// Bytes that a number takes while a row is read: the number, its two levels, and the number in 32 bits.
const NUMBER: u64 = 16;
/// Rows that are read at once.
const ROWS: usize = 1024;

/// Reads `column`, or the only column that holds vectors.
pub(crate) fn read_parquet(file: File, column: Option<&str>) -> Result<Matrix, String> {
    let size = file.metadata().map_err(|error| format!("the file is damaged: {error}"))?.len();
    let mut budget = Budget::of_file(size);
    let mut limit = |pages: &ParquetPages| {
        let spent =
            budget.check(pages.largest).and_then(|()| budget.spend(pages.values.saturating_mul(NUMBER)));
        spent.map_err(|over| format!("{over}; write it without compression and dictionaries"))
    };
    let mut vectors = VectorRows::open(file, column)?;
    let (mut rows, mut values) = (0, Vec::new());
    loop {
        match vectors.read(ROWS, &mut values, &mut limit)? {
            0 => return Ok(Matrix { rows, dim: vectors.dim().unwrap_or(0), values }),
            more => rows += more,
        }
    }
}
