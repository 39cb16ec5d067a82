//! The conformance tests accept a correct plugin and name the rule that a faulty one breaks.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;

use chiasm_host::{ValidationOptions, ValidationOutcome, validate};
use chiasm_plugin::json;
use support::{RecordingServices, isolated_options, library};

#[test]
fn worker() {
    support::serve_if_worker();
}

fn outcomes(fixture: &str, does: &str, only: &[&str]) -> Vec<ValidationOutcome> {
    let mut host = isolated_options();
    host.limits.silence = std::time::Duration::from_secs(2);
    host.limits.memory = Some(4 << 30);
    let options = ValidationOptions {
        path: library(fixture),
        host,
        seed: 1,
        only: only.iter().map(ToString::to_string).collect(),
        // This fusion reads the first modality only, which the host refuses for two.
        skip: vec!["fusion mean-pool".to_owned()],
        parameters: BTreeMap::from([("hostile".to_owned(), json!({ "does": does }))]),
    };
    validate(&options, &RecordingServices::default(), |_| ()).unwrap()
}

#[test]
fn a_correct_plugin_passes() {
    let outcomes = outcomes("fixture-plain", "", &[]);
    let failed: Vec<_> = outcomes.iter().filter(|one| !one.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(outcomes.len() > 20, "{}", outcomes.len());
}

#[test]
fn each_fault_fails_the_test_of_its_rule() {
    for (does, rule, words) in [
        ("panic", "fits", "on purpose"),
        ("segfault", "fits", "signal 11"),
        ("hang", "fits", "no sign of life"),
        ("exit", "fits", "exit code 0"),
        ("nan-weights", "fits", "NaN"),
        ("wrong-port", "fits", "no input"),
        ("write-input", "does not write its input", "signal 11"),
        ("random", "repeats", "differ"),
        ("counts", "keeps nothing", "changes the result"),
        ("panic-takes", "describes itself", "asked how many"),
    ] {
        let outcomes = outcomes("fixture-hostile", does, &[&format!("aligner hostile: {rule}")]);
        let [one] = outcomes.as_slice() else { unreachable!("one test has this name") };
        let problem = one.problem.clone().unwrap_or_default();
        assert!(!one.passed && problem.contains(words), "{does}: {one:?}");
    }
    let stops = outcomes("fixture-hostile", "forever", &["aligner hostile: stops when asked"]);
    assert!(stops[0].passed, "{stops:?}");
    let draft = outcomes("fixture-hostile", "", &["adapter hostile: drafts or declines"]);
    assert!(draft[0].problem.as_ref().unwrap().contains("asked for a draft"), "{draft:?}");
}
