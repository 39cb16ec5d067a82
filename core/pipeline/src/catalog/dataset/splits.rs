//! The part of the work that a row serves.

use serde_json::Value;

/// The part of the work that a row serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Maps are fitted on it.
    Train,
    /// Settings are chosen on it; never fitted on.
    Validation,
    /// Results are measured on it; neither fitted on nor chosen by.
    Test,
}

impl Split {
    /// The split that a cell names; `None` for an empty cell.
    pub(super) fn read(cell: &Value) -> Result<Option<Self>, String> {
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

    /// The split of a row where no column names one: every fifth row (row mod 5 = 0) is test.
    pub(super) fn by_position(row: usize) -> Self {
        if row.is_multiple_of(5) { Self::Test } else { Self::Train }
    }
}

fn unknown(cell: &Value) -> String {
    let expected = "expected \"train\", \"validation\" (or \"val\", \"valid\", \"dev\") or \"test\"";
    format!("{expected}, got {}", super::cells::shown(cell))
}
