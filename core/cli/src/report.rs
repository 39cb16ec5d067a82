//! `chiasm report`: one HTML page about a run, a comparison or a study, and a table of the test items of a
//! run.

use crate::{
    args::GlobalOptions,
    command_result::{CommandResult, json},
    print,
};
use chiasm_pipeline::{Environment, Run};
use serde_json::json as object;
use std::path::Path;

/// Runs `chiasm report`.
pub fn report(run: &Path, output: &Path, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let report = if chiasm_pipeline::is_comparison(run) {
        chiasm_report::comparison_report(run, env)?
    } else if chiasm_pipeline::is_study(run) {
        chiasm_report::study_report(run)?
    } else {
        chiasm_report::report(&Run::open(run, env)?)?
    };
    let table = report.write(output)?;
    if json(global) {
        let trust = report.trust.name();
        let bytes = report.html.len();
        print::json(&object!({
            "report": output, "bytes": bytes, "table": table, "trust": trust, "verdict": report.verdict,
        }));
        return Ok(());
    }
    print::line(&report.verdict);
    print::line(&format!("wrote {}", output.display()));
    if let Some(table) = &table {
        print::line(&format!("wrote {}", table.display()));
    }
    if let Some(Err(reason)) = &report.table {
        print::line(&format!("wrote no table of the test items: {reason}"));
    }
    Ok(())
}
