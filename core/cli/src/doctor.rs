//! `doctor` and `engine install`: which parts are installed, where they were searched, and how to install
//! them.

use crate::{
    args::{DoctorPart, GlobalOptions, ToolArg},
    command_result::{CommandResult, json},
    print,
};
use chiasm_host::PluginStatus;
use chiasm_pipeline::{Environment, ModelStore};
use chiasm_runtime::{ASKED_PYTHON, Engine, InstallOptions, PackageTool, PlaceStatus, SearchedPlace};
use serde_json::{Value, json as object};
use std::path::Path;

/// Prints the status of every part. Fails if the engine is missing, or a plugin named with `--plugin` cannot
/// be used.
pub fn doctor(only: Option<DoctorPart>, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let wanted = |part| only.is_none_or(|only| only == part);
    let engine = Engine::open(&env.search);
    let mut report = serde_json::Map::new();
    if wanted(DoctorPart::Engine) {
        report.insert("engine".into(), engine_report(env, &engine));
    }
    if wanted(DoctorPart::Devices) {
        report.insert("devices".into(), devices_report(&engine));
    }
    if wanted(DoctorPart::Plugins) {
        report.insert("plugins".into(), plugins_report(env));
    }
    if wanted(DoctorPart::Models) {
        report.insert("models".into(), models_report(env));
    }
    let report = Value::Object(report);
    if json(global) {
        print::json(&report)
    } else {
        show(&report)
    }
    if wanted(DoctorPart::Engine) {
        engine.map(drop)?;
    }
    if wanted(DoctorPart::Plugins) {
        env.host.check_named()?;
    }
    Ok(())
}

fn engine_report(env: &Environment, engine: &chiasm_runtime::Result<&'static Engine>) -> Value {
    let searched = env.search.clone().asking_python().attempts();
    let attempts: Vec<Value> = (searched.iter())
        .map(|attempt| {
            let outcome = match &attempt.outcome {
                PlaceStatus::Usable(version) => {
                    format!("usable {}", version.as_deref().unwrap_or("")).trim().to_owned()
                }
                PlaceStatus::Refused(reason) => format!("refused: {reason}"),
                PlaceStatus::Absent(expected) => format!("not found: {expected}"),
            };
            object!({ "place": attempt.place, "path": attempt.path, "outcome": outcome })
        })
        .collect();
    match engine {
        Ok(engine) => object!({ "used": engine.found(), "tried": attempts }),
        Err(_) => object!({ "used": null, "tried": attempts, "mend": mend(&searched) }),
    }
}

/// Returns how to supply an engine: the one that Python knows of, else the command that installs one.
fn mend(searched: &[SearchedPlace]) -> String {
    let known = (searched.iter())
        .find(|one| one.place == ASKED_PYTHON && matches!(one.outcome, PlaceStatus::Usable(_)));
    match known.and_then(|one| one.path.as_ref()) {
        Some(path) => format!("export ORT_DYLIB_PATH={}", path.display()),
        None => chiasm_runtime::INSTALL_COMMAND.to_owned(),
    }
}

fn devices_report(engine: &chiasm_runtime::Result<&'static Engine>) -> Value {
    match engine {
        Err(_) => object!({ "cpu": "needs the engine", "cuda": "needs the engine" }),
        Ok(engine) => match engine.cuda() {
            Ok(()) => object!({ "cpu": "ready", "cuda": "ready" }),
            Err(missing) => {
                let cuda = format!("not available: {missing}");
                object!({ "cpu": "ready", "cuda": cuda, "mend": chiasm_runtime::INSTALL_CUDA_COMMAND })
            }
        },
    }
}

fn plugins_report(env: &Environment) -> Value {
    let plugins: Vec<Value> = (env.host.plugins().iter())
        .map(|plugin| {
            let status = match &plugin.status {
                PluginStatus::Ready => "ready".to_owned(),
                PluginStatus::Shadowed(by) => format!("shadowed by {}", by.display()),
                PluginStatus::Refused(reason) => format!("refused: {reason}"),
            };
            let ids: Vec<&str> = plugin.provides.iter().map(|p| p.component.id.as_str()).collect();
            let provides = ids.join(", ");
            object!({
                "plugin": plugin.id, "version": plugin.version, "provides": provides, "status": status
            })
        })
        .collect();
    Value::Array(plugins)
}

fn models_report(env: &Environment) -> Value {
    let store = ModelStore::new(Path::new("."), &env.models);
    let models: Vec<Value> = (store.list().into_iter())
        .map(|entry| match entry {
            Err(problem) => object!({ "model": null, "status": problem.to_string() }),
            Ok((card, _)) => {
                let status = store.find(&card.name).map_or_else(|p| p.to_string(), |_| "ready".to_owned());
                object!({ "model": card.name, "adapter": card.adapter, "status": status })
            }
        })
        .collect();
    Value::Array(models)
}

/// Prints the report as indented lines. Each object in a list is one line.
fn show(report: &Value) {
    for (part, value) in report.as_object().into_iter().flatten() {
        print::line(part);
        match value {
            Value::Array(rows) => rows.iter().for_each(show_row),
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::Array(rows) => rows.iter().for_each(show_row),
                        _ => print::line(&format!("  {key}: {}", words(value))),
                    }
                }
            }
            other => print::line(&format!("  {}", words(other))),
        }
    }
}

fn show_row(row: &Value) {
    let fields: Vec<String> =
        row.as_object().into_iter().flatten().map(|(_, v)| words(v)).filter(|w| !w.is_empty()).collect();
    print::line(&format!("  - {}", fields.join(" · ")));
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.values().map(words).filter(|w| !w.is_empty()).collect();
            fields.join(" · ")
        }
        other => other.to_string(),
    }
}

/// Runs `chiasm engine install`.
pub fn install(cuda: bool, tool: Option<ToolArg>, global: &GlobalOptions) -> CommandResult {
    let tool = tool.map(|tool| match tool {
        ToolArg::Pip => PackageTool::Pip,
        ToolArg::Uv => PackageTool::Uv,
        ToolArg::Npm => PackageTool::Npm,
    });
    let options = InstallOptions { cuda, tool, ..InstallOptions::default() };
    let terminal = crate::progress::Terminal::new(global.quiet);
    let mut note = |message: &str| chiasm_pipeline::Reporter::note(&terminal, message);
    let installed = chiasm_runtime::install(&options, &mut note)?;
    installed.missing.iter().for_each(|missing| note(missing));
    if json(global) {
        print::json(&object!({ "path": installed.path, "version": installed.version }));
    } else {
        print::line(&format!("ONNX Runtime {} at {}", installed.version, installed.path.display()));
    }
    Ok(())
}
