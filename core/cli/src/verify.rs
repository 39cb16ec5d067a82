//! `chiasm verify`: the files of a run folder and the digests that the fit recorded.

use crate::{
    args::GlobalOptions,
    command_result::{CommandResult, json},
    print,
};
use chiasm_pipeline::{Error, VerifiedPart, verify_run};
use std::path::Path;

/// Runs `chiasm verify`.
pub fn verify(run: &Path, global: &GlobalOptions) -> CommandResult {
    let parts = verify_run(run)?;
    if json(global) {
        print::json(&parts);
    } else {
        parts.iter().for_each(|part| print::line(&sentence(part)));
    }
    let damaged: Vec<&str> =
        parts.iter().filter(|part| part.damage.is_some()).map(|part| part.name.as_str()).collect();
    if damaged.is_empty() {
        return Ok(());
    }
    Err(Error::Gate(format!(
        "{}: {} of {} files differ from the fit ({}); restore them from a copy, or fit the run again",
        run.display(),
        damaged.len(),
        parts.len(),
        damaged.join(", ")
    )))
}

fn sentence(part: &VerifiedPart) -> String {
    match &part.damage {
        None => format!("{}: unchanged", part.name),
        Some(damage) => format!("{}: {damage}", part.name),
    }
}
