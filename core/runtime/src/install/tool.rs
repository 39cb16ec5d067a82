//! The package tools that can bring an engine.

use std::fmt;
use std::str::FromStr;

/// The package tool that brings the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `python3 -m pip`.
    Pip,
    /// `uv`, which runs pip in an environment of its own.
    Uv,
    /// `npm`; it has the CPU build only.
    Npm,
}

impl Tool {
    /// In the order of preference.
    pub const ALL: [Self; 3] = [Self::Pip, Self::Uv, Self::Npm];

    /// The name that the command line takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Uv => "uv",
            Self::Npm => "npm",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tool {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|tool| tool.as_str() == name)
            .ok_or_else(|| format!("unknown package tool \"{name}\"; known are pip, uv and npm"))
    }
}
