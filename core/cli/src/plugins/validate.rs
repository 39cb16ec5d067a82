//! `plugin validate`: the conformance tests of a plugin.

use crate::{
    args::GlobalOptions,
    command_result::{CommandResult, json},
    plugin_host, print,
};
use chiasm_host::{HostOptions, ValidationOptions, validate as run};
use chiasm_pipeline::{Environment, Error};
use std::{collections::BTreeMap, path::Path};

/// The options of the command.
pub struct Options<'a> {
    pub path: &'a Path,
    pub only: &'a [String],
    pub skip: &'a [String],
    pub seed: u64,
    pub parameters: &'a [String],
}

/// Tests a plugin and prints one line for each test.
pub fn validate(options: &Options<'_>, global: &GlobalOptions, env: &Environment) -> CommandResult {
    let host = plugin_host::options(global, None)?;
    let services = env.services("validate", options.seed);
    let options = ValidationOptions {
        path: options.path.to_owned(),
        host: HostOptions { lock: None, policy: None, crashes: None, ..host },
        seed: options.seed,
        only: options.only.to_vec(),
        skip: options.skip.to_vec(),
        parameters: parameters(options.parameters)?,
    };
    let outcomes = run(&options, &services, |test| env.reporter.note(&format!("testing {test}")))?;
    let failed = outcomes.iter().filter(|one| !one.passed).count();
    if json(global) {
        print::json(&outcomes);
    } else {
        let row = |one: &chiasm_host::ValidationOutcome| {
            let outcome = if one.passed { "ok" } else { "FAILED" };
            let detail = one.problem.clone().unwrap_or_else(|| one.rule.to_owned());
            vec![one.test.clone(), outcome.to_owned(), format!("{} ms", one.milliseconds), detail]
        };
        print::table(
            &["test", "outcome", "time", "rule, or what breaks it"],
            outcomes.iter().map(row).collect(),
            4,
        );
        let seed = options.seed;
        print::line(&format!("{} tests, {failed} failed (seed {seed})", outcomes.len()));
    }
    match failed {
        0 => Ok(()),
        _ => Err(Error::Gate(format!("{failed} of {} tests failed", outcomes.len()))),
    }
}

/// Reads `ID={...}` of every flag.
fn parameters(flags: &[String]) -> CommandResult<BTreeMap<String, serde_json::Value>> {
    let refuse = |flag: &str, why: String| {
        Error::input(
            "chiasm::plugin_parameters",
            format!("--set {flag}: {why}"),
            "write it as --set 'ID={\"key\": value}', with the id of an aligner or a fusion",
        )
    };
    flags
        .iter()
        .map(|flag| {
            let (id, text) =
                flag.split_once('=').ok_or_else(|| refuse(flag, "expected ID=JSON".to_owned()))?;
            let value = serde_json::from_str(text).map_err(|e| refuse(flag, e.to_string()))?;
            Ok((id.to_owned(), value))
        })
        .collect()
}
