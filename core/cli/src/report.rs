//! `chiasm report`: one HTML page about a run or a comparison.

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
    } else {
        chiasm_report::report(&Run::open(run, env)?)?
    };
    report.write(output)?;
    if json(global) {
        let trust = report.trust.name();
        let bytes = report.html.len();
        print::json(
            &object!({ "report": output, "bytes": bytes, "trust": trust, "verdict": report.verdict }),
        );
        return Ok(());
    }
    print::line(&report.verdict);
    print::line(&format!("wrote {}", output.display()));
    Ok(())
}
