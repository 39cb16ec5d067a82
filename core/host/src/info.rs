//! What is known about a plugin without running it.

use std::path::PathBuf;

use serde::Serialize;

use crate::{PluginComponent, PluginOrigin, PluginTag};

/// What is known about a plugin without running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginInfo {
    /// Its id, or the file name if the manifest cannot be read.
    pub id: String,
    /// Its version, or an empty string if the manifest cannot be read.
    pub version: String,
    /// The version of its ABI.
    pub abi: String,
    /// Its licence.
    pub licence: String,
    /// Its file.
    pub path: PathBuf,
    /// How it was found.
    pub origin: PluginOrigin,
    /// Whether the user named this file.
    pub named: bool,
    /// Its adapters, aligners and fusions.
    pub provides: Vec<ListedComponent>,
    /// Whether it can be used.
    pub status: PluginStatus,
}

/// An adapter, aligner or fusion of a plugin, and the plugin that shadows it, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedComponent {
    /// Its kind, id and description.
    #[serde(flatten)]
    pub component: PluginComponent,
    /// The file of an earlier plugin that has the same kind and id.
    pub shadowed_by: Option<PathBuf>,
}

/// Whether a plugin can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginStatus {
    /// It passed every check before loading.
    Ready,
    /// An earlier plugin, in this file, has the same id.
    Shadowed(PathBuf),
    /// It cannot be used, for this reason.
    Refused(String),
}

impl PluginInfo {
    pub(crate) fn tag(&self) -> PluginTag {
        PluginTag { id: self.id.clone(), version: self.version.clone(), path: self.path.clone() }
    }
}
