//! The host's error: what went wrong, in whose plugin, while doing what.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use chiasm_abi::{Code, PluginError};
use serde::Serialize;

/// Which plugin.
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

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the words of `as_str` say it")]
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
    /// The phase in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Find => "looking for it",
            Phase::Read => "reading the file",
            Phase::Manifest => "checking its manifest",
            Phase::Load => "loading it",
            Phase::Describe => "asking for its parameters",
            Phase::Draft => "drafting a card",
            Phase::Open => "opening its adapter",
            Phase::Prepare => "preparing an item",
            Phase::Tail => "making the tail graph",
            Phase::Fit => "fitting",
        }
    }
}

/// Why something that needed a plugin failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", self.place())]
pub struct HostError {
    /// The kind: `CANCELLED` is no failure of anyone, `INVALID` is the user's to mend, the rest is the plugin's.
    pub code: Code,
    /// The plugin, once it is known.
    pub plugin: Option<Arc<PluginTag>>,
    /// What was being done.
    pub phase: Phase,
    /// What went wrong: expected, got, what to do.
    pub message: String,
    /// More for machines and for `--verbose`: JSON from the plugin, or the full text of a layout mismatch.
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

    /// What the plugin itself says.
    pub(crate) fn from_plugin(error: &PluginError, phase: Phase) -> Self {
        Self::new(error.code, phase, error.message.as_str()).with_detail(error.detail.as_str())
    }

    /// What the plugin gave back is not what was promised.
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
