//! The commands of `chiasm plugin`, and the options of how plugins run.

mod lock;
mod new;
mod validate;

use crate::{
    args::{GlobalOptions, IsolationArg, PluginCommand, PolicyArg},
    command_result::{CommandResult, json},
    print,
};
use chiasm_host::{
    Host, HostOptions, Isolation, IsolationLimits, PluginLock, PluginPolicy, PluginSearch, PluginStatus,
    WorkerCommand,
};
use chiasm_pipeline::Error;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The argument by which this program starts itself as the process of a plugin.
pub const PLUGIN_PROCESS: &str = "plugin-process";

/// Finds the plugins, with the lock file of the working folder and the options of the command line.
pub fn host(global: &GlobalOptions) -> CommandResult<Host> {
    host_with(global, global.plugins.clone(), |_| ())
}

/// Finds the plugins as [`host`] does, with other files named and some options changed.
fn host_with(
    global: &GlobalOptions,
    named: Vec<PathBuf>,
    change: impl FnOnce(&mut HostOptions),
) -> CommandResult<Host> {
    let folder = std::env::current_dir().map_err(|e| Error::io("find", Path::new("."), e))?;
    let lock = PluginLock::find(&folder).map_err(|message| {
        Error::input("chiasm::plugin_lock", message, "mend the file, or remove it to run without a lock")
    })?;
    let mut options = options(global, lock)?;
    change(&mut options);
    Ok(Host::with_options(&PluginSearch::from_environment(named), options))
}

fn options(global: &GlobalOptions, lock: Option<PluginLock>) -> CommandResult<HostOptions> {
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
        limits,
        lock,
        policy: global.plugin_policy.map(|policy| match policy {
            PolicyArg::Any => PluginPolicy::Any,
            PolicyArg::Locked => PluginPolicy::Locked,
            PolicyArg::Signed => PluginPolicy::Signed,
        }),
    })
}

/// Runs one of the commands.
pub fn plugin(verb: &PluginCommand, global: &GlobalOptions) -> CommandResult {
    match verb {
        PluginCommand::List => list(global, &host(global)?),
        PluginCommand::Inspect { path } => inspect(path, global),
        PluginCommand::Why { id } => {
            let steps = host(global)?.why(id);
            if json(global) {
                print::json(&steps)
            } else {
                steps.iter().for_each(|step| print::line(step))
            }
            Ok(())
        }
        PluginCommand::Lock { output } => lock::lock(output.as_deref(), global),
        PluginCommand::Key { path } => lock::key(path, global),
        PluginCommand::Sign { path, key } => lock::sign(path, key, global),
        PluginCommand::Trust { key } => lock::trust(key, global),
        PluginCommand::Verify { path } => lock::verify(path, global),
        PluginCommand::Validate { path, only, skip, seed, parameters } => {
            validate::validate(&validate::Options { path, only, skip, seed: *seed, parameters }, global)
        }
        PluginCommand::New { kind, name, sdk } => new::new(*kind, name, sdk.as_deref(), global),
    }
}

fn inspect(path: &Path, global: &GlobalOptions) -> CommandResult {
    let manifest = Host::inspect(path)?;
    if json(global) {
        print::json(&manifest);
        return Ok(());
    }
    print::line(&format!(
        "{} {} (ABI {}, {})",
        manifest.id, manifest.version, manifest.abi, manifest.licence
    ));
    print::line(&format!("built for {} {}, panics {}", manifest.arch, manifest.os, manifest.panic));
    for one in &manifest.provides {
        print::line(&format!("{} {}: {}", one.kind, one.id, one.doc));
    }
    Ok(())
}

fn list(global: &GlobalOptions, host: &Host) -> CommandResult {
    if json(global) {
        print::json(&host.plugins());
        return Ok(());
    }
    let mut rows = Vec::new();
    for plugin in host.plugins() {
        let status = match &plugin.status {
            PluginStatus::Ready => "ready".to_owned(),
            PluginStatus::Shadowed(by) => format!("shadowed by {}", by.display()),
            PluginStatus::Refused(reason) => format!("refused: {reason}"),
        };
        if plugin.provides.is_empty() {
            rows.push(vec![
                String::new(),
                plugin.id.clone(),
                plugin.version.clone(),
                status.clone(),
                String::new(),
            ]);
        }
        for one in &plugin.provides {
            let status =
                one.shadowed_by.as_ref().map_or(status.clone(), |by| format!("shadowed by {}", by.display()));
            rows.push(vec![
                one.component.kind.clone(),
                one.component.id.clone(),
                plugin.version.clone(),
                status,
                one.component.doc.clone(),
            ]);
        }
    }
    rows.sort();
    print::table(&["kind", "id", "version", "status", "what it does"], rows, 5);
    Ok(())
}
