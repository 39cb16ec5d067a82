//! The train, validation and test splits.

use serde_json::Value;

/// The split of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Maps are fitted on these rows.
    Train,
    /// Settings are chosen on these rows; nothing is fitted on them.
    Validation,
    /// Results are measured on these rows; they are used for nothing else.
    Test,
}

impl Split {
    /// Returns the split that a cell names; `None` for an empty cell.
    pub(super) fn parse(cell: &Value) -> Result<Option<Self>, String> {
        Ok(Some(match cell {
            Value::Null => return Ok(None),
            Value::String(name) => match name.as_str() {
                "" => return Ok(None),
                "train" => Self::Train,
                "validation" | "val" | "valid" | "dev" => Self::Validation,
                "test" => Self::Test,
                _ => return Err(unknown(cell)),
            },
            _ => return Err(unknown(cell)),
        }))
    }

    /// Returns the split of a row if no column names it: every fifth row (row mod 5 = 0) is test.
    pub(super) fn by_position(row: usize) -> Self {
        if row.is_multiple_of(5) { Self::Test } else { Self::Train }
    }
}

fn unknown(cell: &Value) -> String {
    let expected = "expected \"train\", \"validation\" (or \"val\", \"valid\", \"dev\") or \"test\"";
    format!("{expected}, got {}", super::cells::excerpt(cell))
}
