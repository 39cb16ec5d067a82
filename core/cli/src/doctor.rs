//! `doctor` and `engine install`: what is there, what was tried, and the command that mends what is missing.

use crate::{
    args::{Part, Shared, ToolArg},
    outcome::{Outcome, json},
    print,
};
use chiasm_host::Status;
use chiasm_pipeline::{ModelStore, Workbench};
use chiasm_runtime::{Engine, InstallOptions, PackageTool, PlaceStatus as Found};
use serde_json::{Value, json as object};
use std::path::Path;

/// Looks at every part, prints what it saw, and fails when the engine is missing or a plugin named with `--plugin` cannot
/// be used.
pub fn doctor(only: Option<Part>, shared: &Shared, bench: &Workbench) -> Outcome {
    let wanted = |part| only.is_none_or(|only| only == part);
    let engine = Engine::open(&bench.search);
    let mut report = serde_json::Map::new();
    if wanted(Part::Engine) {
        report.insert("engine".into(), engine_report(bench, &engine));
    }
    if wanted(Part::Devices) {
        report.insert("devices".into(), devices_report(&engine));
    }
    if wanted(Part::Plugins) {
        report.insert("plugins".into(), plugins_report(bench));
    }
    if wanted(Part::Models) {
        report.insert("models".into(), models_report(bench));
    }
    let report = Value::Object(report);
    if json(shared) {
        print::json(&report)
    } else {
        show(&report)
    }
    if wanted(Part::Engine) {
        engine.map(drop)?;
    }
    if wanted(Part::Plugins) {
        bench.host.check_named()?;
    }
    Ok(())
}

fn engine_report(bench: &Workbench, engine: &chiasm_runtime::Result<&'static Engine>) -> Value {
    let attempts: Vec<Value> = (bench.search.attempts().iter())
        .map(|attempt| {
            let outcome = match &attempt.outcome {
                Found::Usable(version) => {
                    format!("usable {}", version.as_deref().unwrap_or("")).trim().to_owned()
                }
                Found::Refused(reason) => format!("refused: {reason}"),
                Found::Absent(expected) => format!("nothing: {expected}"),
            };
            object!({ "place": attempt.place, "path": attempt.path, "outcome": outcome })
        })
        .collect();
    match engine {
        Ok(engine) => object!({ "used": engine.found(), "tried": attempts }),
        Err(_) => object!({ "used": null, "tried": attempts, "mend": chiasm_runtime::INSTALL_COMMAND }),
    }
}

fn devices_report(engine: &chiasm_runtime::Result<&'static Engine>) -> Value {
    match engine {
        Err(_) => object!({ "cpu": "needs the engine", "cuda": "needs the engine" }),
        Ok(engine) => match engine.cuda() {
            Ok(()) => object!({ "cpu": "ready", "cuda": "ready" }),
            Err(missing) => {
                object!({ "cpu": "ready", "cuda": format!("not there: {missing}"), "mend": chiasm_runtime::INSTALL_CUDA_COMMAND })
            }
        },
    }
}

fn plugins_report(bench: &Workbench) -> Value {
    let plugins: Vec<Value> = (bench.host.plugins().iter())
        .map(|plugin| {
            let status = match &plugin.status {
                Status::Ready => "ready".to_owned(),
                Status::Shadowed(by) => format!("shadowed by {}", by.display()),
                Status::Refused(reason) => format!("refused: {reason}"),
            };
            let ids: Vec<&str> = plugin.provides.iter().map(|p| p.what.id.as_str()).collect();
            object!({ "plugin": plugin.id, "version": plugin.version, "provides": ids.join(", "), "status": status })
        })
        .collect();
    Value::Array(plugins)
}

fn models_report(bench: &Workbench) -> Value {
    let store = ModelStore::new(Path::new("."), &bench.models);
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

/// The report as indented lines: a list of objects is one line each.
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

/// `engine install`
pub fn install(cuda: bool, tool: Option<ToolArg>, shared: &Shared) -> Outcome {
    let tool = tool.map(|tool| match tool {
        ToolArg::Pip => PackageTool::Pip,
        ToolArg::Uv => PackageTool::Uv,
        ToolArg::Npm => PackageTool::Npm,
    });
    let options = InstallOptions { cuda, tool, ..InstallOptions::default() };
    let terminal = crate::progress::Terminal::new(shared.quiet);
    let mut say = |message: &str| chiasm_pipeline::Reporter::note(&terminal, message);
    let installed = chiasm_runtime::install(&options, &mut say)?;
    installed.missing.iter().for_each(|missing| say(missing));
    if json(shared) {
        print::json(&object!({ "path": installed.path, "version": installed.version }));
    } else {
        print::line(&format!("ONNX Runtime {} at {}", installed.version, installed.path.display()));
    }
    Ok(())
}
