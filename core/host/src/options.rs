//! How plugins are admitted and run.

use serde::Serialize;

use crate::crashes::CrashRecords;
use crate::isolated::{IsolationLimits, WorkerCommand};
use crate::trust::{LockState, PluginLock, PluginPolicy, PluginTrust};

/// How plugins are admitted and run.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Which plugins run in processes of their own.
    pub isolation: Isolation,
    /// The command that starts such a process. Without it, plugins run in this process.
    pub worker: Option<WorkerCommand>,
    /// The limits of such a process.
    pub limits: IsolationLimits,
    /// The lock file of the project.
    pub lock: Option<PluginLock>,
    /// Which plugins may run. The default is `Locked` with a lock file, and `Any` without.
    pub policy: Option<PluginPolicy>,
    /// Where crashes of plugins are recorded. Without it, they are not remembered.
    pub crashes: Option<CrashRecords>,
}

impl HostOptions {
    pub(crate) fn policy(&self) -> PluginPolicy {
        let default = if self.lock.is_some() { PluginPolicy::Locked } else { PluginPolicy::Any };
        self.policy.unwrap_or(default)
    }

    /// Returns whether a plugin with this panic strategy and trust runs in a process of its own. `crashed`:
    /// its file crashed before.
    pub(crate) fn isolates(&self, panics_unwind: bool, trust: &PluginTrust, crashed: bool) -> bool {
        let vouched = trust.lock == LockState::Locked || trust.signed_by.is_some();
        let trusted = vouched && !crashed;
        self.worker.is_some()
            && match self.isolation {
                Isolation::Never => !panics_unwind,
                Isolation::Auto => !(trusted && panics_unwind),
                Isolation::Always => true,
            }
    }
}

/// Which plugins run in processes of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Only those whose panics end their process. The library of a plugin that is not locked is loaded in
    /// another process first.
    Never,
    /// Those that are neither locked nor signed by a trusted key, those that crashed before, and those whose
    /// panics end their process.
    #[default]
    Auto,
    /// All.
    Always,
}
