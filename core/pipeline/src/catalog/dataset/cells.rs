//! Cells of a data file, and the raw items that they refer to.

use crate::{catalog::raw::RawItem, recipe::encoders::ItemRule};
use chiasm_host::Takes;
use serde_json::Value;
use std::path::Path;

/// A reference to one item, as written in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ItemRef {
    /// A text or a path, depending on the adapter.
    Text(String),
    /// A row number in a file of vectors.
    Row(u64),
}

impl ItemRef {
    /// Returns the items of one cell. Null and the empty text are no items, also within a list.
    pub(super) fn parse(value: &Value) -> Result<Vec<Self>, String> {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut cells = Vec::with_capacity(items.len());
        for item in items {
            match (item, item.as_u64()) {
                (Value::Null, _) => {}
                (Value::String(text), _) if text.is_empty() => {}
                (Value::String(text), _) => cells.push(Self::Text(text.clone())),
                (_, Some(row)) => cells.push(Self::Row(row)),
                _ => {
                    let expected = "expected a text, a row number, or a list of these";
                    return Err(format!("{expected}, got {}", excerpt(value)));
                }
            }
        }
        Ok(cells)
    }

    /// Returns the raw item for an adapter, or `None` if it is of another kind.
    fn raw(&self, takes: Takes, folder: &Path) -> Option<RawItem> {
        match (self, takes) {
            (Self::Text(text), _) => RawItem::parse(text, takes, folder).ok(),
            (Self::Row(row), Takes::Row) => usize::try_from(*row).ok().map(RawItem::Row),
            (Self::Row(_), Takes::Text | Takes::Path) => None,
        }
    }
}

/// Returns the item of a cell of the modality `name`, which holds exactly one. Relative paths start at
/// `folder`.
///
/// # Errors
/// If the cell holds something else, or a row number is expected and it is none.
pub fn one_item(cell: &Value, name: &str, takes: Takes, folder: &Path) -> Result<RawItem, String> {
    let item = match cell {
        Value::String(text) if !text.is_empty() => RawItem::parse(text, takes, folder),
        Value::Number(number) if number.is_u64() => RawItem::parse(&number.to_string(), takes, folder),
        other => return Err(format!("expected one {name}, got {}", excerpt(other))),
    };
    item.map_err(|what| format!("{name}: {what}"))
}

/// Returns the start of a value, for messages.
pub(super) fn excerpt(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The raw items of one modality: three lists of the same length, in the order of the rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawItems {
    /// The items.
    pub raw: Vec<RawItem>,
    /// The row of each item, sorted in ascending order.
    pub rows: Vec<usize>,
    /// The index of each item within its row.
    pub position: Vec<usize>,
}

impl RawItems {
    /// Returns the items at these indices.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            raw: indices.iter().map(|at| self.raw[*at].clone()).collect(),
            rows: indices.iter().map(|at| self.rows[*at]).collect(),
            position: indices.iter().map(|at| self.position[*at]).collect(),
        }
    }

    /// Returns the items of these rows, which must be sorted in ascending order.
    pub fn of_rows(&self, rows: &[usize]) -> Self {
        self.filter(|row| rows.binary_search(row).is_ok())
    }

    /// Returns the items of all rows except these, which must be sorted in ascending order.
    pub fn without_rows(&self, rows: &[usize]) -> Self {
        self.filter(|row| rows.binary_search(row).is_err())
    }

    /// Returns these items without those that are the first item of their row in `items`.
    pub fn without_first_of(&self, items: &Self) -> Self {
        let kept = |at: &usize| {
            let first = items.rows.partition_point(|row| *row < self.rows[*at]);
            let same = items.rows.get(first) == Some(&self.rows[*at]);
            !(same && items.position[first] == self.position[*at])
        };
        self.select(&(0..self.raw.len()).filter(kept).collect::<Vec<_>>())
    }

    /// Returns these items and `others`, sorted by row. The two must not share rows.
    pub fn with(mut self, others: &Self) -> Self {
        self.raw.extend_from_slice(&others.raw);
        self.rows.extend_from_slice(&others.rows);
        self.position.extend_from_slice(&others.position);
        let mut order: Vec<usize> = (0..self.raw.len()).collect();
        order.sort_by_key(|at| self.rows[*at]);
        self.select(&order)
    }

    fn filter(&self, keep: impl Fn(&usize) -> bool) -> Self {
        self.select(&(0..self.raw.len()).filter(|at| keep(&self.rows[*at])).collect::<Vec<_>>())
    }
}

/// Returns the raw items of a column. Relative paths start at `folder`.
///
/// # Errors
/// The rows that hold an item of the wrong kind, such as a text where a row number is expected.
pub fn raw_items(
    column: &[Vec<ItemRef>],
    takes: Takes,
    which: ItemRule,
    folder: &Path,
) -> Result<RawItems, Vec<usize>> {
    let per_row = match which {
        ItemRule::First => 1,
        ItemRule::Each | ItemRule::Mean => usize::MAX,
    };
    let (mut items, mut wrong) = (RawItems::default(), Vec::new());
    for (row, cells) in column.iter().enumerate() {
        for (position, cell) in cells.iter().take(per_row).enumerate() {
            if let Some(raw) = cell.raw(takes, folder) {
                items.raw.push(raw);
                items.rows.push(row);
                items.position.push(position);
            } else if wrong.last() != Some(&row) {
                wrong.push(row);
            }
        }
    }
    if wrong.is_empty() { Ok(items) } else { Err(wrong) }
}
