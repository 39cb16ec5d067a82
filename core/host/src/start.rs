//! Admitting a plugin and loading it, in this process or in its own.

use std::sync::Arc;

use chiasm_abi::Code;

use crate::calls::PluginCalls;
use crate::isolated::{IsolatedPlugin, WorkerCommand};
use crate::library::SealedLibrary;
use crate::trust::{self, LockState, PluginTrust};
use crate::{HostError, HostOptions, Phase, PluginTag, Result};

/// A loaded plugin, in this process or in its own.
#[derive(Clone)]
pub(crate) struct LoadedPlugin {
    pub tag: Arc<PluginTag>,
    pub calls: Arc<dyn PluginCalls>,
    pub sha256: [u8; 32],
    pub trust: PluginTrust,
    pub isolated: bool,
}

/// Admits a plugin and loads it, in this process or in its own.
pub(crate) fn start(tag: &Arc<PluginTag>, options: &HostOptions) -> Result<LoadedPlugin> {
    let (library, sha256) = SealedLibrary::read(tag)?;
    let trust = library.trust(tag, &sha256, options.lock.as_ref())?;
    trust::admit(options.policy(), &trust, options.lock.as_ref())
        .map_err(|reason| HostError::new(Code::INVALID, Phase::Load, reason).of(tag))?;
    let isolated = options.isolates(library.manifest.panics_unwind(), &trust);
    let worker = options.worker.as_ref();
    let isolated_plugin = |library: &SealedLibrary, worker: &WorkerCommand| {
        let copy = library.descriptor().map_err(|e| {
            HostError::new(Code::OTHER, Phase::Load, format!("cannot share its sealed copy: {e}")).of(tag)
        })?;
        IsolatedPlugin::start(tag, copy, worker.clone(), options.limits)
    };
    let calls: Arc<dyn PluginCalls> = match worker {
        Some(worker) if isolated => Arc::new(isolated_plugin(&library, worker)?),
        _ => {
            // A library that crashes while it is loaded must do so in another process.
            if let Some(worker) = worker.filter(|_| trust.lock != LockState::Locked) {
                isolated_plugin(&library, worker)?;
            }
            library.load(tag)?
        }
    };
    Ok(LoadedPlugin { tag: Arc::clone(tag), calls, sha256, trust, isolated })
}
