//! Pairs: one row per line of a JSONL file, each column the raw input of one modality.
//!
//! A cell is a string (a text or a path, as the adapter says), a row number of a file of vectors, or a list of
//! strings (several captions of one picture). Every bad line found is reported, not only the first.

use crate::problem::{Problem, Problems};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
};

/// Which part of the work a row serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Maps are fitted on it.
    Train,
    /// Held out: only measured on.
    Test,
}

/// The raw input(s) of one modality in one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Texts or paths; one, or several alternatives (captions).
    Items(Vec<String>),
    /// A row number in a file of vectors.
    Row(u64),
}

/// The rows of a pairs file: parallel lists in the order of the file.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// The folder that paths in cells start from.
    pub folder: PathBuf,
    /// The row's name: column `id`, or its line number.
    pub ids: Vec<String>,
    /// The row's split.
    pub splits: Vec<Split>,
    columns: BTreeMap<String, Vec<Cell>>,
    values: BTreeMap<String, Vec<Value>>,
}

/// The columns to read beside `id` and the split.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Raw inputs.
    pub inputs: &'a [&'a str],
    /// Anything but null: labels, answers, numbers.
    pub values: &'a [&'a str],
    /// Where each row's split is named.
    pub split: &'a str,
}

const SHOWN: usize = 5;

impl Pairs {
    /// Reads columns of the JSONL file at `path`.
    ///
    /// Without a `split` column, every fifth row (row mod 5 = 0) is test.
    ///
    /// # Errors
    /// Every bad line found, the first few by number: not JSON, a missing column, an unknown split, a repeated id.
    pub fn read(path: &Path, columns: Columns<'_>) -> Result<Self, Problems> {
        let code = "chiasm::data::pairs";
        let text = std::fs::read_to_string(path).map_err(|e| {
            Problem::new(code, format!("cannot read the pairs file {}: {e}", path.display()))
                .help("`data.pairs` names a JSONL file, relative to the recipe: one JSON object a line")
        })?;
        let mut rows = Rows::new(columns);
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            if let Err(complaint) = rows.push(number + 1, line) {
                rows.complaints.push(format!("line {}: {complaint}", number + 1));
            }
        }
        rows.finish(path)
    }

    /// Rows of vectors paired by position: row i of every column is row i of its file; every fifth is test.
    pub fn by_position(count: u64, columns: &[&str]) -> Self {
        let cells: Vec<Cell> = (0..count).map(Cell::Row).collect();
        Self {
            folder: PathBuf::new(),
            ids: (0..count).map(|i| i.to_string()).collect(),
            splits: (0..count as usize).map(split_by_position).collect(),
            columns: columns.iter().map(|c| ((*c).to_owned(), cells.clone())).collect(),
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

    /// The cells of a column, one a row; empty for a column that was not read.
    pub fn column(&self, name: &str) -> &[Cell] {
        self.columns.get(name).map_or(&[], Vec::as_slice)
    }

    /// The values of a column, one a row; empty for a column that was not read.
    pub fn values(&self, name: &str) -> &[Value] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The rows of a split, in order.
    pub fn rows_of(&self, split: Split) -> Vec<usize> {
        (0..self.len()).filter(|&i| self.splits[i] == split).collect()
    }
}

/// Every fifth row is test: what `folds` calls fold 0 of 5.
fn split_by_position(row: usize) -> Split {
    if row.is_multiple_of(5) { Split::Test } else { Split::Train }
}

struct Rows<'a> {
    split_column: &'a str,
    ids: Vec<String>,
    seen: HashSet<String>,
    splits: Vec<Option<Split>>,
    columns: Vec<(&'a str, Vec<Cell>)>,
    values: Vec<(&'a str, Vec<Value>)>,
    complaints: Vec<String>,
}

impl<'a> Rows<'a> {
    fn new(columns: Columns<'a>) -> Self {
        let distinct = |names: &[&'a str]| names.iter().copied().collect::<BTreeSet<_>>();
        Self {
            split_column: columns.split,
            ids: Vec::new(),
            seen: HashSet::new(),
            splits: Vec::new(),
            columns: distinct(columns.inputs).into_iter().map(|c| (c, Vec::new())).collect(),
            values: distinct(columns.values).into_iter().map(|c| (c, Vec::new())).collect(),
            complaints: Vec::new(),
        }
    }

    fn push(&mut self, number: usize, line: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(line).map_err(|e| format!("not JSON: {e}"))?;
        let object = value.as_object().ok_or("expected a JSON object, got something else")?;
        let id = match object.get("id") {
            None => number.to_string(),
            Some(Value::String(s)) => s.clone(),
            Some(other) => other.to_string(),
        };
        let split = match object.get(self.split_column) {
            None => None,
            Some(Value::String(s)) if s == "train" => Some(Split::Train),
            Some(Value::String(s)) if s == "test" => Some(Split::Test),
            Some(other) => {
                return Err(format!("`{}` expects \"train\" or \"test\", got {other}", self.split_column));
            }
        };
        let held = |name: &str| {
            object.get(name).ok_or_else(|| {
                let have = object.keys().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
                format!("no column `{name}`; the columns are {have}")
            })
        };
        let mut cells = Vec::with_capacity(self.columns.len());
        for (name, _) in &self.columns {
            let value = held(name)?;
            cells.push(cell(value).ok_or_else(|| {
                format!("column `{name}` expects a string, a list of strings or a row number, got {value}")
            })?);
        }
        let mut values = Vec::with_capacity(self.values.len());
        for (name, _) in &self.values {
            match held(name)? {
                Value::Null => {
                    return Err(format!("column `{name}` is null; leave out rows without a value"));
                }
                value => values.push(value.clone()),
            }
        }
        if !self.seen.insert(id.clone()) {
            return Err(format!("the id {id:?} was used by an earlier line"));
        }
        self.ids.push(id);
        self.splits.push(split);
        for ((_, column), cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        for ((_, column), value) in self.values.iter_mut().zip(values) {
            column.push(value);
        }
        Ok(())
    }

    fn finish(mut self, path: &Path) -> Result<Pairs, Problems> {
        let code = "chiasm::data::pairs";
        let named = self.splits.iter().filter(|s| s.is_some()).count();
        if named != 0 && named != self.splits.len() {
            let message = format!("{named} of {} lines name a `{}`", self.splits.len(), self.split_column);
            self.complaints.push(message);
        }
        let mut problems = Problems::default();
        if !self.complaints.is_empty() {
            let shown = self.complaints.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  ");
            let more = self.complaints.len().saturating_sub(SHOWN);
            let tail = if more > 0 { format!("\n  and {more} more") } else { String::new() };
            problems.push(Problem::new(code, format!("{}:\n  {shown}{tail}", path.display())));
        } else if self.ids.is_empty() {
            problems.push(Problem::new(code, format!("{} has no rows", path.display())));
        }
        let splits = self.splits.iter().enumerate().map(|(i, s)| s.unwrap_or_else(|| split_by_position(i)));
        let pairs = Pairs {
            folder: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            splits: splits.collect(),
            ids: self.ids,
            columns: self.columns.into_iter().map(|(n, c)| (n.to_owned(), c)).collect(),
            values: self.values.into_iter().map(|(n, v)| (n.to_owned(), v)).collect(),
        };
        problems.or(Some(pairs))
    }
}

fn cell(value: &Value) -> Option<Cell> {
    match value {
        Value::String(s) => Some(Cell::Items(vec![s.clone()])),
        Value::Number(n) => n.as_u64().map(Cell::Row),
        Value::Array(items) if !items.is_empty() => {
            items.iter().map(|i| i.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>().map(Cell::Items)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Pairs, Problems> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        std::fs::write(&path, text).unwrap();
        Pairs::read(&path, Columns { inputs: &["image", "captions"], values: &[], split: "split" })
    }

    #[test]
    fn rows_keep_their_order_split_and_alternatives() {
        let pairs = read(
            "{\"id\":\"a\",\"split\":\"test\",\"image\":\"a.png\",\"captions\":[\"x\",\"y\"]}\n\n{\"id\":\"b\",\"split\":\"train\",\"image\":3,\"captions\":\"z\"}\n",
        )
        .unwrap();
        assert_eq!(pairs.ids, ["a", "b"]);
        assert_eq!(pairs.splits, [Split::Test, Split::Train]);
        assert_eq!(pairs.column("image"), [Cell::Items(vec!["a.png".into()]), Cell::Row(3)]);
        assert_eq!(pairs.column("captions")[0], Cell::Items(vec!["x".into(), "y".into()]));
    }

    #[test]
    fn values_are_read_as_they_are_and_must_not_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        let columns = Columns { inputs: &["image"], values: &["answer"], split: "split" };
        std::fs::write(&path, "{\"image\":\"a\",\"answer\":\"red\"}\n{\"image\":\"b\",\"answer\":[1.5]}\n")
            .unwrap();
        let pairs = Pairs::read(&path, columns).unwrap();
        assert_eq!(pairs.values("answer"), [serde_json::json!("red"), serde_json::json!([1.5])]);
        std::fs::write(&path, "{\"image\":\"a\",\"answer\":null}\n{\"image\":\"b\"}\n").unwrap();
        let problems = Pairs::read(&path, columns).unwrap_err().to_string();
        assert!(problems.contains("line 1: column `answer` is null"), "{problems}");
        assert!(problems.contains("line 2: no column `answer`"), "{problems}");
    }

    #[test]
    fn without_a_split_column_every_fifth_row_is_test() {
        let lines: String =
            (0..10).map(|i| format!("{{\"image\":\"{i}.png\",\"captions\":\"c{i}\"}}\n")).collect();
        assert_eq!(read(&lines).unwrap().rows_of(Split::Test), [0, 5]);
    }

    #[test]
    fn every_bad_line_is_named() {
        let problems = read(
            "nonsense\n{\"image\":\"a\"}\n{\"image\":\"a\",\"captions\":[],\"split\":\"train\"}\n{\"image\":\"a\",\"captions\":\"c\",\"split\":\"dev\"}\n",
        )
        .unwrap_err()
        .to_string();
        for expected in
            ["line 1: not JSON", "line 2: no column `captions`", "line 3: column", "line 4: `split`"]
        {
            assert!(problems.contains(expected), "{expected:?} is not in {problems}");
        }
    }

    #[test]
    fn a_repeated_id_and_an_empty_file_are_refused() {
        let line = "{\"id\":\"a\",\"image\":\"a\",\"captions\":\"c\"}\n";
        assert!(read(&line.repeat(2)).unwrap_err().to_string().contains("\"a\" was used"));
        assert!(read("\n").unwrap_err().to_string().contains("no rows"));
    }
}
