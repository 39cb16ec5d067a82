//! What callers hold: an adapter, an aligner or a fusion of a loaded plugin, with every call checked on both sides.

pub(crate) mod adapter;
pub(crate) mod aligner;
pub(crate) mod data;
pub(crate) mod fusion;

use std::sync::Arc;

use chiasm_abi::Reply;
use chiasm_abi::stable::{RErr, ROk, RString};
use chiasm_plugin::Parameter;

use crate::{HostError, Phase, PluginTag, Result};

/// Whose answer is being read, and to what.
pub(crate) struct ReplyReader<'a> {
    pub tag: &'a Arc<PluginTag>,
    pub phase: Phase,
}

impl ReplyReader<'_> {
    /// The reply, or the plugin's error with its name on it.
    pub(crate) fn take<T>(&self, reply: Reply<T>) -> Result<T> {
        match reply {
            ROk(value) => Ok(value),
            RErr(e) => Err(HostError::from_plugin(&e, self.phase).of(self.tag)),
        }
    }

    /// A check of what was given.
    pub(crate) fn check<T>(&self, result: Result<T, String>) -> Result<T> {
        result.map_err(|message| HostError::invalid_reply(self.phase, message).of(self.tag))
    }

    /// JSON that was given.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, text: &str, what: &str) -> Result<T> {
        self.check(serde_json::from_str(text).map_err(|e| format!("its {what} do not read as JSON: {e}")))
    }

    /// The parameters that an aligner or a fusion tells of.
    pub(crate) fn parameters(&self, reply: Reply<RString>) -> Result<Vec<Parameter>> {
        self.json(&self.take(reply)?, "parameters")
    }
}

/// A plugin that promised a kind in its manifest, and does not have it.
pub(crate) fn required_module<M>(module: Option<M>, id: &str, kind: &str, tag: &Arc<PluginTag>) -> Result<M> {
    module.ok_or_else(|| {
        let message = format!("its manifest promises the {kind} `{id}`, but it offers no {kind}s");
        HostError::invalid_reply(Phase::Load, message).of(tag)
    })
}
