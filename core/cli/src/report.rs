//! `chiasm report`: one HTML page about a run.

use crate::{
    args::GlobalOptions,
    command_result::{CommandResult, json},
    print,
};
use chiasm_pipeline::{Environment, Run};
use chiasm_report::Trust;
use serde_json::json as object;
use std::path::Path;

/// Runs `chiasm report`.
pub fn report(run: &Path, output: &Path, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let report = chiasm_report::report(&Run::open(run, env)?)?;
    report.write(output)?;
    if json(global) {
        let trust = match report.trust {
            Trust::Yes => "yes",
            Trust::Care => "care",
            Trust::No => "no",
        };
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
