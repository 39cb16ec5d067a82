//! One step of the search for an engine: the place, and what was there.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One place that was looked at, and what was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Which place of the search.
    pub place: &'static str,
    /// The file or folder looked at; none when the place is not set on this machine.
    pub path: Option<PathBuf>,
    /// What was found.
    pub outcome: Outcome,
}

/// What a place held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A library that can serve, with its version where the file states it.
    Usable(Option<String>),
    /// A library that cannot, and why.
    Refused(String),
    /// Nothing, and what was expected there.
    Absent(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable(Some(version)) => write!(f, "ONNX Runtime {version}"),
            Self::Usable(None) => f.write_str("ONNX Runtime, version not stated"),
            Self::Refused(reason) | Self::Absent(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} ({}): {}", self.place, path.display(), self.outcome),
            None => write!(f, "{}: {}", self.place, self.outcome),
        }
    }
}

/// The attempts as an indented list.
pub(crate) fn list(attempts: &[Attempt]) -> String {
    attempts.iter().map(|a| format!("  - {a}")).collect::<Vec<_>>().join("\n")
}
