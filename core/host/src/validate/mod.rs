//! Tests whether a plugin keeps the rules of the plugin interface.
//!
//! Every test has a new host, and thus a process of its own for the plugin: a crash or a hang fails one test.
//! The data are random and depend only on the seed.

mod adapter;
mod aligner;
mod data;
mod fusion;
mod options;
mod rule;
mod services;

pub use options::ValidationOptions;

use std::path::Path;
use std::time::Instant;

use chiasm_abi::Code;
use serde::Serialize;
use serde_json::Value;

use crate::{Host, HostError, HostServices, Manifest, Result};
use rule::{Rule, Subject};

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
