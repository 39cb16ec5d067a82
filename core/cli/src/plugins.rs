//! `plugin list`, `plugin inspect` and `plugin why`.

use crate::{
    args::{GlobalOptions, PluginCommand},
    command_result::{CommandResult, json},
    print,
};
use chiasm_host::{Host, PluginStatus};

/// Runs one of the three commands.
pub fn plugin(verb: &PluginCommand, global: &GlobalOptions, host: &Host) -> CommandResult {
    match verb {
        PluginCommand::List => list(global, host),
        PluginCommand::Inspect { path } => {
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
        PluginCommand::Why { id } => {
            let steps = host.why(id);
            if json(global) {
                print::json(&steps)
            } else {
                steps.iter().for_each(|step| print::line(step))
            }
            Ok(())
        }
    }
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
