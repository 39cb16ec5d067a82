//! Admitting a plugin and loading it, in this process or in its own.

use std::sync::Arc;

use chiasm_abi::Code;

use crate::calls::PluginCalls;
use crate::isolated::{IsolatedPlugin, PluginSource, WorkerCommand};
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
    let crashed = options.crashes.as_ref().and_then(|crashes| crashes.of(&trust.sha256));
    if let Some(record) = crashed.as_ref().filter(|record| record.is_quarantined()) {
        let message = format!(
            "it is in quarantine because it crashed in {} commands; the last time {}; `chiasm plugin retry \
             {}` releases it",
            record.commands, record.last, tag.id
        );
        return Err(HostError::new(Code::INVALID, Phase::Load, message).of(tag));
    }
    let isolated = options.isolates(library.manifest.panics_unwind(), &trust, crashed.is_some());
    let worker = options.worker.as_ref();
    let isolated_plugin = |library: &SealedLibrary, worker: &WorkerCommand| {
        let copy = library.descriptor().map_err(|e| {
            HostError::new(Code::OTHER, Phase::Load, format!("cannot share its sealed copy: {e}")).of(tag)
        })?;
        let source = PluginSource::new(tag, (copy, trust.sha256.clone()), worker, options);
        IsolatedPlugin::start(source)
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
