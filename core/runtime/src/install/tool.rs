//! The package tools that can download an engine.

use std::fmt;
use std::str::FromStr;

/// A package tool that can download ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageTool {
    /// `python3 -m pip`.
    Pip,
    /// `uv`, which runs pip in its own environment.
    Uv,
    /// `npm`; it has the CPU build only.
    Npm,
}

impl PackageTool {
    /// Every tool, in order of preference.
    pub const ALL: [Self; 3] = [Self::Pip, Self::Uv, Self::Npm];

    /// Returns the name that the command line accepts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Uv => "uv",
            Self::Npm => "npm",
        }
    }
}

impl fmt::Display for PackageTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PackageTool {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|tool| tool.as_str() == name)
            .ok_or_else(|| format!("unknown package tool \"{name}\"; known are pip, uv and npm"))
    }
}
