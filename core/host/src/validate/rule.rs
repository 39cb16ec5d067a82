//! A rule of the plugin interface, what it is tested with, and the outcomes it may have.

use chiasm_abi::Code;
use serde_json::{Value, json};

use super::options::ValidationOptions;
use super::services::TestServices;
use crate::{Host, HostOptions, HostServices, Isolation, Parameter, PluginSearch, Result};

/// One rule. `run` returns what breaks it.
pub(super) struct Rule {
    pub name: &'static str,
    pub sentence: &'static str,
    pub run: fn(&Subject<'_>) -> Result<(), String>,
}

/// A component under test.
pub(super) struct Subject<'a> {
    pub options: &'a ValidationOptions,
    pub engine: &'a dyn HostServices,
    pub id: &'a str,
    pub parameters: Value,
}

impl Subject<'_> {
    /// Returns a host whose processes are new.
    pub(super) fn host(&self) -> Host {
        let search =
            PluginSearch { plugin_paths: vec![self.options.path.clone()], ..PluginSearch::default() };
        let options = HostOptions { isolation: Isolation::Always, ..self.options.host.clone() };
        Host::with_options(&search, options)
    }

    pub(super) fn services(&self) -> TestServices<'_> {
        TestServices::new(self.engine, self.options.seed)
    }
}

/// Returns an error if a call that got bad input panicked, crashed or gave an error without a reason. The
/// call may succeed.
pub(super) fn refused_or_fine<T>(what: &str, outcome: Result<T>) -> Result<(), String> {
    match outcome {
        Err(e) if matches!(e.code, Code::PANICKED | Code::POISONED | Code::CRASHED) => {
            Err(format!("{what}: {}", e.message))
        }
        Err(e) if e.message.trim().is_empty() => Err(format!("{what}: the error has no message")),
        _ => Ok(()),
    }
}

/// Returns an error unless a call that got bad input was refused as such.
pub(super) fn refused<T>(what: &str, outcome: Result<T>) -> Result<(), String> {
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

pub(super) fn plain<T>(outcome: Result<T>) -> Result<T, String> {
    outcome.map_err(|e| e.message)
}

/// Returns values that no parameter should break on.
pub(super) fn garbage() -> Vec<Value> {
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

/// Returns sets of parameters that are no table, and for each known parameter values that it should not break
/// on.
pub(super) fn garbage_parameters(known: &[Parameter]) -> Vec<Value> {
    let mut sets = vec![json!([]), json!("text"), json!(1e300), json!(null)];
    for parameter in known {
        sets.extend(garbage().into_iter().map(|value| json!({ parameter.name.as_str(): value })));
    }
    sets
}

/// Returns an error unless a fit that was asked to stop did so, or was done before it could be asked.
pub(super) fn stopped_or_done<T>(outcome: Result<T>, asked: bool) -> Result<(), String> {
    match outcome {
        Err(e) if asked && matches!(e.code, Code::CANCELLED | Code::HOST) => Ok(()),
        Err(e) => Err(format!("expected the code `cancelled`, got {}: {}", e.code.as_str(), e.message)),
        Ok(_) => Ok(()),
    }
}
