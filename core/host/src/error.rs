//! The host's error type.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use chiasm_abi::{Code, PluginError};
use serde::Serialize;

/// The identity of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginTag {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its file.
    pub path: PathBuf,
}

impl fmt::Display for PluginTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin {} {} ({})", self.id, self.version, self.path.display())
    }
}

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "`as_str` describes each phase")]
pub enum Phase {
    Find,
    Read,
    Manifest,
    Load,
    Describe,
    Draft,
    Open,
    Prepare,
    Tail,
    Fit,
}

impl Phase {
    /// Returns a description of the phase.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Find => "searching",
            Phase::Read => "reading the file",
            Phase::Manifest => "checking the manifest",
            Phase::Load => "loading",
            Phase::Describe => "querying its description",
            Phase::Draft => "drafting a card",
            Phase::Open => "opening the adapter",
            Phase::Prepare => "preparing an item",
            Phase::Tail => "making the tail graph",
            Phase::Fit => "fitting",
        }
    }
}

/// The error of an operation that needs a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", self.place())]
pub struct HostError {
    /// The kind. `CANCELLED` is not a failure, `INVALID` is a mistake of the user, and the others are faults
    /// of the plugin or the host.
    pub code: Code,
    /// The plugin, if it is known.
    pub plugin: Option<Arc<PluginTag>>,
    /// The operation that failed.
    pub phase: Phase,
    /// The message: what was expected, what was got, what to do.
    pub message: String,
    /// Details: JSON from the plugin, or the full report of a layout mismatch.
    pub detail: Option<String>,
}

impl HostError {
    pub(crate) fn new(code: Code, phase: Phase, message: impl Into<String>) -> Self {
        Self { code, plugin: None, phase, message: message.into(), detail: None }
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into()).filter(|text: &String| !text.is_empty());
        self
    }

    pub(crate) fn of(mut self, plugin: &Arc<PluginTag>) -> Self {
        self.plugin = Some(plugin.clone());
        self
    }

    /// Returns the error that a plugin returned.
    pub(crate) fn from_plugin(error: &PluginError, phase: Phase) -> Self {
        Self::new(error.code, phase, error.message.as_str()).with_detail(error.detail.as_str())
    }

    /// Returns the error of a plugin whose reply is invalid.
    pub(crate) fn invalid_reply(phase: Phase, message: impl Into<String>) -> Self {
        Self::new(Code::OTHER, phase, message)
    }

    fn place(&self) -> String {
        match &self.plugin {
            Some(plugin) => format!("{plugin}, while {}", self.phase.as_str()),
            None => format!("plugins, while {}", self.phase.as_str()),
        }
    }
}
