//! The commands of `chiasm plugin`.

mod crashes;
mod lock;
mod new;
mod validate;

use crate::{
    args::{GlobalOptions, PluginCommand},
    command_result::{CommandResult, json},
    plugin_host::host,
    print,
};
use chiasm_host::{CrashRecord, Host, PluginInfo, PluginStatus};
use chiasm_pipeline::Environment;
use serde::Serialize;
use std::path::Path;

/// Runs one of the commands. `environment` returns the engine and the rest that tests of plugins need.
pub fn plugin(
    verb: &PluginCommand,
    global: &GlobalOptions,
    environment: impl FnOnce() -> CommandResult<Environment>,
) -> CommandResult {
    match verb {
        PluginCommand::List { load: false } => list(global, &host(global)?),
        PluginCommand::List { load: true } => lock::list_loaded(global),
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
        PluginCommand::Retry { id } => crashes::retry(id, global),
        PluginCommand::Validate { path, only, skip, seed, parameters } => {
            let options = validate::Options { path, only, skip, seed: *seed, parameters };
            validate::validate(&options, global, &environment()?)
        }
        PluginCommand::New { kind, name, sdk } => new::new(*kind, name, sdk.as_deref(), global),
    }
}

/// Runs `chiasm plugin inspect`.
///
/// # Errors
/// If the library is not a plugin.
pub fn inspect(path: &Path, global: &GlobalOptions) -> CommandResult {
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

/// A plugin of `plugin list --format json`.
#[derive(Serialize)]
struct ListedPlugin<'a> {
    #[serde(flatten)]
    plugin: &'a PluginInfo,
    /// What is remembered of its crashes.
    crash: Option<&'a CrashRecord>,
}

fn list(global: &GlobalOptions, host: &Host) -> CommandResult {
    if json(global) {
        let records = crashes::records();
        let crash = |plugin: &PluginInfo| records.iter().find(|record| record.path == plugin.path);
        let listed = host.plugins().iter().map(|plugin| ListedPlugin { plugin, crash: crash(plugin) });
        print::json(&listed.collect::<Vec<_>>());
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
    crashes::records().iter().for_each(|record| print::line(&crashes::sentence(record)));
    Ok(())
}
