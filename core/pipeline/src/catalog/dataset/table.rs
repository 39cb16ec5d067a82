//! A dataset: parallel lists with one entry per row.

use super::{cells::ItemRef, splits::Split};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf};

/// The columns to read besides `id`.
#[derive(Debug, Clone, Copy)]
pub struct DatasetColumns<'a> {
    /// Columns of raw items.
    pub inputs: &'a [&'a str],
    /// Columns of other values: labels, answers, numbers. Null is not allowed.
    pub values: &'a [&'a str],
    /// The column that names each row's split. For `None`, `split` if the file has that column.
    pub split: Option<&'a str>,
}

/// The rows of a data file, as lists of the same length.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The folder that relative paths in cells start from.
    pub folder: PathBuf,
    /// The id of each row: its column `id`, else its number, counted from 1. All ids differ.
    pub ids: Vec<String>,
    /// The split of each row.
    pub splits: Vec<Split>,
    pub(super) columns: BTreeMap<String, Vec<Vec<ItemRef>>>,
    pub(super) values: BTreeMap<String, Vec<Value>>,
}

impl Dataset {
    /// Returns a dataset for files of vectors that are paired by position: row i of every column is row i of
    /// its file.
    pub fn by_position(count: u64, columns: &[&str]) -> Self {
        let cells: Vec<Vec<ItemRef>> = (0..count).map(|row| vec![ItemRef::Row(row)]).collect();
        Self {
            folder: PathBuf::new(),
            ids: (0..count).map(|row| row.to_string()).collect(),
            splits: (0..cells.len()).map(Split::by_position).collect(),
            columns: columns.iter().map(|name| ((*name).to_owned(), cells.clone())).collect(),
            values: BTreeMap::new(),
        }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the items of each row in a column of inputs. Empty for a column that was not read.
    pub fn column(&self, name: &str) -> &[Vec<ItemRef>] {
        self.columns.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the values of a column, one per row. Empty for a column that was not read.
    pub fn values(&self, name: &str) -> &[Value] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the rows of a split, in ascending order.
    pub fn rows_of(&self, split: Split) -> Vec<usize> {
        (0..self.len()).filter(|&row| self.splits[row] == split).collect()
    }
}
