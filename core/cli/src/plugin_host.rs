//! The plugins of a command: which may run, and where.

use crate::{
    args::{GlobalOptions, IsolationArg, PolicyArg},
    command_result::CommandResult,
};
use chiasm_host::{
    Host, HostOptions, Isolation, IsolationLimits, PluginLock, PluginPolicy, PluginSearch, WorkerCommand,
};
use chiasm_pipeline::{Error, crash_records, plugin_lock};
use std::{path::PathBuf, time::Duration};

/// The argument by which this program starts itself as the process of a plugin.
pub const PLUGIN_PROCESS: &str = "plugin-process";

/// Finds the plugins, with the lock file of the working folder and the options of the command line.
pub fn host(global: &GlobalOptions) -> CommandResult<Host> {
    host_with(global, global.plugins.clone(), |_| ())
}

/// Finds the plugins as [`host`] does, with other files named and some options changed.
pub fn host_with(
    global: &GlobalOptions,
    named: Vec<PathBuf>,
    change: impl FnOnce(&mut HostOptions),
) -> CommandResult<Host> {
    let mut options = options(global, plugin_lock()?)?;
    change(&mut options);
    Ok(Host::with_options(&PluginSearch::from_environment(named), options))
}

/// Returns the options of the command line.
pub fn options(global: &GlobalOptions, lock: Option<PluginLock>) -> CommandResult<HostOptions> {
    let positive = |flag: &str, value: Option<f64>| match value {
        Some(value) if !(value > 0.0 && value < 1e9) => Err(Error::input(
            "chiasm::option",
            format!("--{flag}: expected a positive number below 1e9, got {value}"),
            "give another number, or leave the option out",
        )),
        other => Ok(other),
    };
    let mut limits = IsolationLimits::default();
    if let Some(seconds) = positive("plugin-timeout", global.plugin_timeout)? {
        limits.silence = Duration::from_secs_f64(seconds);
    }
    if let Some(gib) = positive("plugin-memory", global.plugin_memory)? {
        limits.memory = Some((gib * f64::from(1 << 30)) as u64);
    }
    Ok(HostOptions {
        isolation: match global.isolate {
            IsolationArg::Never => Isolation::Never,
            IsolationArg::Auto => Isolation::Auto,
            IsolationArg::Always => Isolation::Always,
        },
        worker: Some(WorkerCommand::same_program(PLUGIN_PROCESS)),
        crashes: crash_records(),
        limits,
        lock,
        policy: global.plugin_policy.map(|policy| match policy {
            PolicyArg::Any => PluginPolicy::Any,
            PolicyArg::Locked => PluginPolicy::Locked,
            PolicyArg::Signed => PluginPolicy::Signed,
        }),
    })
}
