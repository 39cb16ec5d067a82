//! One place of the search for an engine, and what was found there.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One place that the search looked at, and what it found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SearchedPlace {
    /// The name of the place.
    pub place: &'static str,
    /// The file or folder looked at; `None` when the place is not set on this machine.
    pub path: Option<PathBuf>,
    /// What was found.
    pub outcome: PlaceStatus,
}

/// What the search found at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceStatus {
    /// A usable library, with its version where the file states it.
    Usable(Option<String>),
    /// An unusable library, and why it is unusable.
    Refused(String),
    /// No library, and what was expected there.
    Absent(String),
}

impl fmt::Display for PlaceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable(Some(version)) => write!(f, "ONNX Runtime {version}"),
            Self::Usable(None) => f.write_str("ONNX Runtime, version not stated"),
            Self::Refused(reason) | Self::Absent(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for SearchedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} ({}): {}", self.place, path.display(), self.outcome),
            None => write!(f, "{}: {}", self.place, self.outcome),
        }
    }
}

/// Formats the places as an indented list.
pub(crate) fn list(attempts: &[SearchedPlace]) -> String {
    attempts.iter().map(|a| format!("  - {a}")).collect::<Vec<_>>().join("\n")
}
