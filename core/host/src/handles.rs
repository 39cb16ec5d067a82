//! Handles to the adapters, aligners and fusions of loaded plugins. Arguments and replies are checked.

pub(crate) mod adapter;
pub(crate) mod aligner;
pub(crate) mod data;
pub(crate) mod fusion;

use std::sync::Arc;

use chiasm_abi::Reply;
use chiasm_abi::stable::{RErr, ROk, RString};
use chiasm_plugin::Parameter;

use crate::calls::ComponentKind;
use crate::start::LoadedPlugin;
use crate::{HostError, Phase, PluginTag, Result};

/// Reads and checks the replies of a plugin during one operation.
pub(crate) struct ReplyReader<'a> {
    pub tag: &'a Arc<PluginTag>,
    pub phase: Phase,
}

impl ReplyReader<'_> {
    /// Returns the value of a reply, or the plugin's error with the plugin's identity.
    pub(crate) fn take<T>(&self, reply: Reply<T>) -> Result<T> {
        match reply {
            ROk(value) => Ok(value),
            RErr(e) => Err(HostError::from_plugin(&e, self.phase).of(self.tag)),
        }
    }

    /// Adds the plugin's identity to a failed check.
    pub(crate) fn check<T>(&self, result: Result<T, String>) -> Result<T> {
        result.map_err(|message| HostError::invalid_reply(self.phase, message).of(self.tag))
    }

    /// Parses JSON from the plugin.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, text: &str, what: &str) -> Result<T> {
        self.check(serde_json::from_str(text).map_err(|e| format!("its {what}: invalid JSON: {e}")))
    }

    /// Parses the parameters of an aligner or a fusion.
    pub(crate) fn parameters(&self, reply: Reply<RString>) -> Result<Vec<Parameter>> {
        self.json(&self.take(reply)?, "parameters")
    }
}

/// Checks that the library has the kind of component that its manifest lists.
pub(crate) fn require(
    plugin: &LoadedPlugin,
    kind: ComponentKind,
    id: &str,
    tag: &Arc<PluginTag>,
) -> Result<()> {
    if plugin.calls.offers(kind) {
        return Ok(());
    }
    let kind = kind.as_str();
    let message =
        format!("its manifest lists the {kind} `{id}`, but the library has no {kind}s; rebuild the plugin");
    Err(HostError::invalid_reply(Phase::Load, message).of(tag))
}
