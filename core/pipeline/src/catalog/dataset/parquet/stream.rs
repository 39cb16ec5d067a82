//! Blocks of a Parquet file. A page of each column is in memory, whatever the size of the row groups.

use super::{ParquetColumn, failed};
use crate::catalog::dataset::{rows::Block, stored::stored_columns};
use chiasm_graph::Budget;
use parquet::{
    column::reader::ColumnReader,
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
};
use serde_json::Value;
use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The most bytes of the cells of a block, and of a page.
const BLOCK_BYTES: u64 = 1 << 30;

/// A Parquet file and the position in it.
pub struct ParquetRows {
    reader: SerializedFileReader<File>,
    headers: File,
    columns: Vec<ParquetColumn>,
    rows: u64,
    /// The open row group.
    open: Option<OpenGroup>,
}

/// A row group that is being read.
struct OpenGroup {
    /// The next row to read, and the first row after the group.
    next: u64,
    end: u64,
    /// One for each column.
    readers: Vec<ColumnReader>,
}

impl ParquetRows {
    /// Opens a file. Also returns the names of those of the columns `wanted` that it has.
    pub fn open(file: File, wanted: &[&str]) -> Result<(Self, Vec<String>), String> {
        let headers = file.try_clone().map_err(|error| format!("cannot read it: {error}"))?;
        let read = || {
            let reader = SerializedFileReader::new(file).map_err(failed)?;
            let schema = reader.metadata().file_metadata().schema_descr();
            let stored = stored_columns(schema);
            let columns = wanted.iter().filter_map(|name| {
                let leaf = stored.iter().position(|(own, _)| own == name)?;
                Some(ParquetColumn::of(schema, leaf, name, stored[leaf].1))
            });
            let columns: Vec<ParquetColumn> = columns.collect::<Result<_, _>>()?;
            let counts = reader.metadata().row_groups().iter().map(|group| group.num_rows());
            let rows = counts.map(|rows| u64::try_from(rows).unwrap_or(0)).sum();
            Ok(Self { reader, headers, columns, rows, open: None })
        };
        let opened = guarded(read)?;
        let names = opened.columns.iter().map(|column| column.name.clone()).collect();
        Ok((opened, names))
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads `count` rows from the row `start` on.
    pub fn read(&mut self, start: u64, count: usize) -> Result<Block, String> {
        let mut cells: Block = self.columns.iter().map(|_| Vec::with_capacity(count)).collect();
        let mut budget = Budget::of_bytes(BLOCK_BYTES);
        guarded(|| {
            let mut read = 0;
            while read < count {
                read += self.read_group(start + read as u64, count - read, &mut cells, &mut budget)?;
            }
            Ok(())
        })?;
        Ok(cells)
    }

    /// Reads rows of the group with the row `start`. Returns their number, which is at least one.
    fn read_group(
        &mut self,
        start: u64,
        most: usize,
        cells: &mut [Vec<Value>],
        budget: &mut Budget,
    ) -> Result<usize, String> {
        let mut group = match self.open.take() {
            Some(group) if group.next == start && start < group.end => group,
            _ => self.group_at(start, budget)?,
        };
        let count = usize::try_from(group.end - start).unwrap_or(most).min(most);
        for ((column, reader), cells) in self.columns.iter().zip(&mut group.readers).zip(cells) {
            let wanted = cells.len() + count;
            let read = column.read_cells(reader, count, cells, budget);
            read.map_err(|e| format!("column `{}`, rows from {}: {e}", column.name, start + 1))?;
            if cells.len() != wanted {
                return Err(format!("the file is damaged: the column `{}` lacks rows", column.name));
            }
        }
        group.next = start + count as u64;
        self.open = Some(group);
        Ok(count)
    }

    /// Opens the row group with a row, at that row.
    fn group_at(&self, row: u64, budget: &Budget) -> Result<OpenGroup, String> {
        let mut begin = 0;
        for (index, stored) in self.reader.metadata().row_groups().iter().enumerate() {
            let end = begin + u64::try_from(stored.num_rows()).unwrap_or(0);
            if row >= end {
                begin = end;
                continue;
            }
            let group = self.reader.get_row_group(index).map_err(failed)?;
            let mut readers = Vec::new();
            for column in &self.columns {
                let pages = column.pages(&self.headers, stored.column(column.leaf))?;
                budget.check(pages.largest).map_err(|over| format!("a page: {over}"))?;
                let mut reader = group.get_column_reader(column.leaf).map_err(failed)?;
                let skip = usize::try_from(row - begin).map_err(|e| e.to_string())?;
                skip_records(&mut reader, skip).map_err(failed)?;
                readers.push(reader);
            }
            return Ok(OpenGroup { next: row, end, readers });
        }
        Err(format!("the file is damaged: row {} is missing", row + 1))
    }
}

fn skip_records(reader: &mut ColumnReader, count: usize) -> Result<usize, ParquetError> {
    match reader {
        ColumnReader::BoolColumnReader(c) => c.skip_records(count),
        ColumnReader::Int32ColumnReader(c) => c.skip_records(count),
        ColumnReader::Int64ColumnReader(c) => c.skip_records(count),
        ColumnReader::Int96ColumnReader(c) => c.skip_records(count),
        ColumnReader::FloatColumnReader(c) => c.skip_records(count),
        ColumnReader::DoubleColumnReader(c) => c.skip_records(count),
        ColumnReader::ByteArrayColumnReader(c) => c.skip_records(count),
        ColumnReader::FixedLenByteArrayColumnReader(c) => c.skip_records(count),
    }
}

/// Calls a function. The page reader panics on some damaged headers, which is an error here.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err("cannot read it as Parquet: it is damaged".into()))
}
