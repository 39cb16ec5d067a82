//! A dataset: parallel lists, one entry a row.

use super::{cells::Cell, splits::Split};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf};

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
    pub(super) columns: BTreeMap<String, Vec<Vec<Cell>>>,
    pub(super) values: BTreeMap<String, Vec<Value>>,
}

impl Dataset {
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
