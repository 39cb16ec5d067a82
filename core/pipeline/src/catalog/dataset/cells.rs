//! Cells: the items that a row holds of one modality, as written, and as an adapter takes them.

use crate::{catalog::raw::Raw, recipe::encoders::ItemRule};
use chiasm_host::Takes;
use serde_json::Value;
use std::path::Path;

/// One item as the file writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cell {
    /// A text or a path, as the adapter takes it.
    Text(String),
    /// A row number of a file of vectors.
    Row(u64),
}

impl Cell {
    /// The items of one cell; null and the empty text are no item, alone and within a list.
    pub(super) fn read(value: &Value) -> Result<Vec<Self>, String> {
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
                    return Err(format!("{expected}, got {}", shown(value)));
                }
            }
        }
        Ok(cells)
    }

    /// The item as an adapter takes it; `None` when it is of another kind.
    fn raw(&self, takes: Takes, folder: &Path) -> Option<Raw> {
        match (self, takes) {
            (Self::Text(text), _) => Raw::read(text, takes, folder).ok(),
            (Self::Row(row), Takes::Row) => usize::try_from(*row).ok().map(Raw::Row),
            (Self::Row(_), Takes::Text | Takes::Path) => None,
        }
    }
}

/// The start of a value, for a message.
pub(super) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The raw items of one modality; three lists of the same length, in the order of the rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Items {
    /// The items.
    pub raw: Vec<Raw>,
    /// The row of each item; never falls.
    pub rows: Vec<usize>,
    /// The place of each item within its row, from 0.
    pub position: Vec<usize>,
}

impl Items {
    /// The items at these places.
    pub fn select(&self, places: &[usize]) -> Self {
        Self {
            raw: places.iter().map(|at| self.raw[*at].clone()).collect(),
            rows: places.iter().map(|at| self.rows[*at]).collect(),
            position: places.iter().map(|at| self.position[*at]).collect(),
        }
    }

    /// The items of these rows, which must rise.
    pub fn of_rows(&self, rows: &[usize]) -> Self {
        self.filter(|row| rows.binary_search(row).is_ok())
    }

    /// The items of all rows but these, which must rise.
    pub fn without_rows(&self, rows: &[usize]) -> Self {
        self.filter(|row| rows.binary_search(row).is_err())
    }

    /// These items but for the one of each row that is the first of `items`.
    pub fn without_first_of(&self, items: &Self) -> Self {
        let kept = |at: &usize| {
            let first = items.rows.partition_point(|row| *row < self.rows[*at]);
            let same = items.rows.get(first) == Some(&self.rows[*at]);
            !(same && items.position[first] == self.position[*at])
        };
        self.select(&(0..self.raw.len()).filter(kept).collect::<Vec<_>>())
    }

    /// These items and those of other rows, by rising row.
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

/// The items of a column as an adapter takes them; relative paths start at `folder`.
///
/// # Errors
/// The rows that hold an item of the wrong kind, such as a text where a row number is taken.
pub fn items(
    column: &[Vec<Cell>],
    takes: Takes,
    which: ItemRule,
    folder: &Path,
) -> Result<Items, Vec<usize>> {
    let most = match which {
        ItemRule::First => 1,
        ItemRule::Each | ItemRule::Mean => usize::MAX,
    };
    let (mut items, mut wrong) = (Items::default(), Vec::new());
    for (row, cells) in column.iter().enumerate() {
        for (position, cell) in cells.iter().take(most).enumerate() {
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
