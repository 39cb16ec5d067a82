//! Tests whether a plugin keeps the rules of the plugin interface.
//!
//! Every test has a new host, and thus a process of its own for the plugin: a crash or a hang fails one test.
//! The data are random and depend only on the seed.

mod adapter;
mod aligner;
mod data;
mod fusion;
mod services;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chiasm_abi::Code;
use serde::Serialize;
use serde_json::Value;

use crate::{Host, HostError, HostOptions, HostServices, Isolation, Manifest, PluginSearch, Result};

/// What to test.
pub struct ValidationOptions {
    /// The file of the plugin.
    pub path: PathBuf,
    /// How its processes are started. They are used whatever the isolation says.
    pub host: HostOptions,
    /// The seed of the data.
    pub seed: u64,
    /// Run only tests whose name contains one of these texts; all if it is empty.
    pub only: Vec<String>,
    /// Leave out tests whose name contains one of these texts.
    pub skip: Vec<String>,
    /// The parameters of an aligner or a fusion, by its id.
    pub parameters: BTreeMap<String, Value>,
}

/// The outcome of one test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValidationOutcome {
    /// Its name: the kind and id of the component, and the rule.
    pub test: String,
    /// The rule, as a sentence.
    pub rule: &'static str,
    /// Whether the plugin keeps the rule.
    pub passed: bool,
    /// What was seen, if it does not.
    pub problem: Option<String>,
    /// The seed of the data.
    pub seed: u64,
    /// How long the test took.
    pub milliseconds: u64,
}

/// One rule. `run` returns what breaks it.
pub(crate) struct Rule {
    name: &'static str,
    sentence: &'static str,
    run: fn(&Subject<'_>) -> Result<(), String>,
}

/// A component under test.
pub(crate) struct Subject<'a> {
    options: &'a ValidationOptions,
    engine: &'a dyn HostServices,
    id: &'a str,
    parameters: Value,
}

impl Subject<'_> {
    /// Returns a host whose processes are new.
    fn host(&self) -> Host {
        let search =
            PluginSearch { plugin_paths: vec![self.options.path.clone()], ..PluginSearch::default() };
        let options = HostOptions { isolation: Isolation::Always, ..self.options.host.clone() };
        Host::with_options(&search, options)
    }

    fn services(&self) -> services::TestServices<'_> {
        services::TestServices::new(self.engine, self.options.seed)
    }
}

/// Tests the plugin of a file. `progress` is called before each test with its name.
///
/// # Errors
/// If the file is not a plugin, or no test has a matching name.
pub fn validate(
    options: &ValidationOptions,
    engine: &dyn HostServices,
    mut progress: impl FnMut(&str),
) -> Result<Vec<ValidationOutcome>> {
    let manifest = Host::inspect(&options.path)?;
    let mut outcomes = Vec::new();
    for component in &manifest.provides {
        let rules: &[Rule] = match component.kind.as_str() {
            "adapter" => adapter::RULES,
            "aligner" => aligner::RULES,
            "fusion" => fusion::RULES,
            _ => &[],
        };
        let parameters = options.parameters.get(&component.id).cloned();
        let subject = Subject {
            options,
            engine,
            id: &component.id,
            parameters: parameters.unwrap_or_else(|| Value::Object(serde_json::Map::default())),
        };
        for rule in rules {
            let test = format!("{} {}: {}", component.kind, component.id, rule.name);
            if !chosen(options, &test) {
                continue;
            }
            progress(&test);
            let started = Instant::now();
            let problem = (rule.run)(&subject).err();
            let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let passed = problem.is_none();
            let (rule, seed) = (rule.sentence, options.seed);
            outcomes.push(ValidationOutcome { test, rule, passed, problem, seed, milliseconds });
        }
    }
    if outcomes.is_empty() {
        let message = match manifest.provides.is_empty() {
            true => "its manifest lists no adapter, aligner or fusion".to_owned(),
            false => "no test has a name that `only` and `skip` leave".to_owned(),
        };
        return Err(
            HostError::new(Code::INVALID, crate::Phase::Find, message).of(&tag(&options.path, &manifest))
        );
    }
    Ok(outcomes)
}

fn chosen(options: &ValidationOptions, test: &str) -> bool {
    let named = |texts: &[String]| texts.iter().any(|text| test.contains(text.as_str()));
    (options.only.is_empty() || named(&options.only)) && !named(&options.skip)
}

fn tag(path: &Path, manifest: &Manifest) -> std::sync::Arc<crate::PluginTag> {
    let (id, version) = (manifest.id.clone(), manifest.version.clone());
    std::sync::Arc::new(crate::PluginTag { id, version, path: path.to_owned() })
}

/// Returns an error if a call that got bad input panicked, crashed or gave an error without a reason. The
/// call may succeed.
fn refused_or_fine<T>(what: &str, outcome: Result<T>) -> Result<(), String> {
    match outcome {
        Err(e) if matches!(e.code, Code::PANICKED | Code::POISONED | Code::CRASHED) => {
            Err(format!("{what}: {}", e.message))
        }
        Err(e) if e.message.trim().is_empty() => Err(format!("{what}: the error has no message")),
        _ => Ok(()),
    }
}

/// Returns an error unless a call that got bad input was refused as such.
fn refused<T>(what: &str, outcome: Result<T>) -> Result<(), String> {
    match outcome {
        Ok(_) => Err(format!("{what} was accepted")),
        Err(e) if e.code == Code::INVALID && !e.message.trim().is_empty() => Ok(()),
        Err(e) => Err(format!(
            "{what}: expected an error of the code `invalid`, got {}: {}",
            e.code.as_str(),
            e.message
        )),
    }
}

fn plain<T>(outcome: Result<T>) -> Result<T, String> {
    outcome.map_err(|e| e.message)
}

/// Returns values that no parameter should break on.
fn garbage() -> Vec<Value> {
    use serde_json::json;
    let nested = (0..50).fold(json!(0), |inner, _| json!([inner]));
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\u{202e}"),
        json!("x".repeat(10_000)),
        json!([1, "a", null]),
        json!({ "a": { "b": [] } }),
        nested,
    ]
}
