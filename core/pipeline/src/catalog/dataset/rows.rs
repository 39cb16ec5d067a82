//! Building and checking the rows of a dataset, for every file format.

use super::{
    cells::ItemRef,
    splits::Split,
    table::{Dataset, DatasetColumns},
};
use crate::base::problem::{Problem, Problems};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
};

/// The maximum length of a line of a text file, in bytes. It limits the memory for a line, of which two bytes
/// (`0,`) may become a value of 32.
pub(super) const LONGEST_LINE: u64 = 8 << 20;

/// The number of rows of a block; the last one may be smaller.
pub const BLOCK_ROWS: u64 = 4096;

/// The columns of a block, in the order of [`RowStream::columns`]; null for a cell that is absent.
pub type Block = Vec<Vec<Value>>;

/// Number of invalid rows that are listed one by one.
const LISTED: usize = 5;

/// The rows read so far, and the errors in them.
pub(super) struct DatasetBuilder<'a> {
    split: Option<&'a str>,
    /// The columns that the file has.
    known: BTreeSet<String>,
    count: usize,
    ids: Vec<String>,
    seen: HashSet<String>,
    splits: Vec<Option<Split>>,
    inputs: BTreeMap<&'a str, Vec<Vec<ItemRef>>>,
    values: BTreeMap<&'a str, Vec<Value>>,
    /// The first errors.
    errors: Vec<String>,
    /// The number of invalid rows.
    invalid: usize,
}

impl<'a> DatasetBuilder<'a> {
    pub(super) fn new(columns: DatasetColumns<'a>) -> Self {
        Self {
            split: columns.split,
            known: BTreeSet::new(),
            count: 0,
            ids: Vec::new(),
            seen: HashSet::new(),
            splits: Vec::new(),
            inputs: columns.inputs.iter().map(|name| (*name, Vec::new())).collect(),
            values: columns.values.iter().map(|name| (*name, Vec::new())).collect(),
            errors: Vec::new(),
            invalid: 0,
        }
    }

    /// Adds names to the columns that the file has.
    pub(super) fn add_columns<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        for name in names {
            if !self.known.contains(name) {
                self.known.insert(name.to_owned());
            }
        }
    }

    /// Returns whether a column is needed.
    pub(super) fn needs(&self, name: &str) -> bool {
        let special = name == "id" || name == self.split_column();
        special || self.inputs.contains_key(name) || self.values.contains_key(name)
    }

    fn split_column(&self) -> &'a str {
        self.split.unwrap_or("split")
    }

    /// Adds the row at `place`, such as "line 3". `item` and `value` return the cell of a column: `item` for
    /// items, `value` for values.
    pub(super) fn push(&mut self, place: &str, item: impl Fn(&str) -> Value, value: impl Fn(&str) -> Value) {
        self.count += 1;
        if let Err(error) = self.add(item, value) {
            self.add_error(place, &error);
        }
    }

    /// Records that the row at `place` is invalid.
    pub(super) fn add_error(&mut self, place: &str, error: &str) {
        self.invalid += 1;
        if self.invalid <= LISTED {
            self.errors.push(format!("{place}: {error}"));
        }
    }

    fn add(&mut self, item: impl Fn(&str) -> Value, value: impl Fn(&str) -> Value) -> Result<(), String> {
        let of = |name: &str, error| format!("column `{name}`: {error}");
        let id = match item("id") {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        let id = if id.is_empty() { self.count.to_string() } else { id };
        let split = self.split_column();
        let split = Split::parse(&item(split)).map_err(|error| of(split, error))?;
        let cells = self.inputs.keys().map(|name| ItemRef::parse(&item(name)).map_err(|e| of(name, e)));
        let cells: Vec<Vec<ItemRef>> = cells.collect::<Result<_, _>>()?;
        if !cells.is_empty() && cells.iter().all(Vec::is_empty) {
            return Err(format!("no item in any of the columns {}", list(self.inputs.keys().copied())));
        }
        let values: Vec<Value> = self.values.keys().map(|name| value(name)).collect();
        if let Some((name, _)) = self.values.keys().zip(&values).find(|(_, value)| value.is_null()) {
            return Err(of(name, "no value; add one or remove the row".to_owned()));
        }
        if !self.seen.insert(id.clone()) {
            return Err(format!("the id {id:?} is already used by an earlier row"));
        }
        self.ids.push(id);
        self.splits.push(split);
        self.inputs.values_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        self.values.values_mut().zip(values).for_each(|(column, value)| column.push(value));
        Ok(())
    }

    /// Returns the requested columns that the file does not have.
    pub(super) fn missing(&self) -> Vec<&'a str> {
        let requested = self.inputs.keys().chain(self.values.keys()).chain(&self.split);
        requested.copied().filter(|name| !self.known.contains(*name)).collect()
    }

    /// Returns the dataset, if no column is missing and every row is valid.
    pub(super) fn finish(self, path: &Path) -> Result<Dataset, Problems> {
        let mut problems = Problems::default();
        let missing = if self.known.is_empty() { Vec::new() } else { self.missing() };
        let named = self.splits.iter().flatten().count();
        if !missing.is_empty() {
            missing.into_iter().for_each(|name| problems.push(self.no_column(path, name)));
        } else if self.invalid > 0 {
            let more = self.invalid - self.errors.len();
            let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
            let message = format!("{}:\n  {}{more}", path.display(), self.errors.join("\n  "));
            problems.push(Problem::new("chiasm::data::rows", message));
        } else if self.ids.is_empty() {
            problems.push(Problem::new("chiasm::data::rows", format!("{} has no rows", path.display())));
        } else if named != self.ids.len() && (named > 0 || self.split.is_some()) {
            let (path, rows, column) = (path.display(), self.ids.len(), self.split_column());
            let message = format!("{path}: {named} of {rows} rows name their split in column `{column}`");
            problems.push(
                Problem::new("chiasm::data::split", message)
                    .help("name the split of every row, or remove the column"),
            );
        }
        let splits = self.splits.iter().enumerate();
        let splits = splits.map(|(row, split)| split.unwrap_or_else(|| Split::by_position(row))).collect();
        problems.or(Some(Dataset {
            folder: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            splits,
            ids: self.ids,
            columns: self.inputs.into_iter().map(|(name, cells)| (name.to_owned(), cells)).collect(),
            values: self.values.into_iter().map(|(name, values)| (name.to_owned(), values)).collect(),
        }))
    }

    fn no_column(&self, path: &Path, name: &str) -> Problem {
        let known = || self.known.iter().map(String::as_str);
        let message = format!("{} has no column `{name}`; its columns are {}", path.display(), list(known()));
        let problem = Problem::new("chiasm::data::column", message);
        problem.suggest(name, known())
    }
}

/// Formats names for a message: `a`, `b`.
fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const LONGEST: usize = 40;
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(LONGEST);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    names[..names.len() - more].join(", ") + &tail
}
