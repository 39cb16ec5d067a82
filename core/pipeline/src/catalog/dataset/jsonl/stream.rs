//! Blocks of a file of JSON lines.

use super::{next_line, object};
use crate::catalog::dataset::rows::{BLOCK_ROWS, Block};
use chiasm_graph::Budget;
use std::{
    fs::File,
    io::{BufReader, Seek, SeekFrom},
};

/// The most bytes of the lines of a block.
const BLOCK_BYTES: u64 = 1 << 30;

/// A file of JSON lines whose rows were counted.
pub struct JsonLines {
    reader: BufReader<File>,
    rows: u64,
    /// The position of the first line of each block, and the number of that line.
    starts: Vec<(u64, u64)>,
}

impl JsonLines {
    /// Counts the rows, which are the lines that are not empty. Also returns those of the columns `wanted`
    /// that the first row has.
    pub fn open(file: File, wanted: &[&str]) -> Result<(Self, Vec<String>), String> {
        let (mut rows, mut starts, mut columns) = (0, Vec::new(), Vec::new());
        let (mut at, mut line) = (0, Vec::new());
        let mut reader = BufReader::with_capacity(1 << 18, file);
        for number in 1.. {
            let Some(text) = next_line(&mut reader, number, &mut line)? else { break };
            if !text.is_empty() {
                if rows == 0 {
                    let first = object(text).map_err(|error| format!("line {number}: {error}"))?;
                    let has = |name: &&&str| first.get(**name).is_some_and(|cell| !cell.is_null());
                    columns = wanted.iter().filter(has).map(|name| (*name).to_owned()).collect();
                }
                if rows % BLOCK_ROWS == 0 {
                    starts.push((at, number));
                }
                rows += 1;
            }
            at += line.len() as u64;
        }
        Ok((Self { reader, rows, starts }, columns))
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads these columns of a block.
    pub fn read(&mut self, block: u64, count: usize, columns: &[String]) -> Result<Block, String> {
        let mut cells: Block = columns.iter().map(|_| Vec::with_capacity(count)).collect();
        let start = usize::try_from(block).ok().and_then(|block| self.starts.get(block));
        let Some(&(start, first)) = start else { return Ok(cells) };
        self.reader.seek(SeekFrom::Start(start)).map_err(|error| format!("cannot read it: {error}"))?;
        let mut budget = Budget::of_bytes(BLOCK_BYTES);
        let (mut line, mut read) = (Vec::new(), 0);
        for number in first.. {
            if read == count {
                break;
            }
            let Some(text) = next_line(&mut self.reader, number, &mut line)? else {
                return Err(format!("line {number} is missing: the file has changed while it was read"));
            };
            if text.is_empty() {
                continue;
            }
            let bad = |error| format!("line {number}: {error}");
            budget.spend(text.len() as u64).map_err(|over| bad(over.to_string()))?;
            let mut object = object(text).map_err(bad)?;
            for (column, name) in cells.iter_mut().zip(columns) {
                column.push(object.remove(name).unwrap_or_default());
            }
            read += 1;
        }
        Ok(cells)
    }
}
