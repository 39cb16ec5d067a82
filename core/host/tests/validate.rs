//! The conformance tests accept a correct plugin and name the rule that a faulty one breaks.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use chiasm_host::{Code, EncoderSpec, Item, ValidationOptions, ValidationOutcome, validate};
use chiasm_plugin::json;
use support::{RecordingServices, host_of, host_with, isolated_options, library};

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

/// Builds a plugin in C with the compiler that also links Rust programs.
fn built(source: &str, folder: &Path) -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let library = folder.join("libplugin.so");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(project.join("core/abi/include"))
        .arg("-o")
        .arg(&library)
        .arg(project.join(source))
        .arg("-lm")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

#[test]
fn the_example_in_c_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = built("examples/c-plugin/first_columns.c", folder.path());
    for parameters in [json!({}), json!({ "k": 3 })] {
        let options = ValidationOptions {
            path: path.clone(),
            host: isolated_options(),
            seed: 1,
            only: Vec::new(),
            skip: Vec::new(),
            parameters: BTreeMap::from([("first-columns-c".to_owned(), parameters)]),
        };
        let outcomes = validate(&options, &RecordingServices::default(), |_| ()).unwrap();
        let failed: Vec<_> = outcomes.iter().filter(|one| !one.passed).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert_eq!(outcomes.len(), 12);
    }
    let aligner = host_of(&[path]).aligner("first-columns-c").unwrap();
    assert_eq!(aligner.parameters().unwrap()[0].name, "k");
    let error = aligner.takes(&json!({ "k": 0 })).unwrap_err();
    assert!(error.message.contains("at least 1"), "{error}");
}

#[test]
fn an_adapter_in_c_is_called_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = built("core/host/tests/c/adapter.c", folder.path());
    let port = json!({ "name": "x", "dtype": "f32", "dims": ["n", 2] });
    let spec = |word: &str| EncoderSpec {
        preprocessing: json!({ "do": word }),
        inputs: vec![serde_json::from_value(port.clone()).unwrap()],
        ..EncoderSpec::default()
    };
    for host in [host_of(std::slice::from_ref(&path)), host_with(&[path], isolated_options())] {
        let factory = host.adapter("c-adapter").unwrap();
        let services = RecordingServices { threads: 3, ..RecordingServices::default() };
        let adapter = factory.open(&spec(""), &services).unwrap();
        assert_eq!(*services.log.lock().unwrap(), ["c-adapter Info: opened in C"]);
        // The number of bytes, and the seed (42) plus the number of threads.
        let tensors = adapter.prepare(Item::Text("four")).unwrap();
        assert_eq!(tensors[0].as_f32().unwrap(), [4.0, 45.0]);
        assert_eq!(adapter.rows().unwrap(), None);
        let error = adapter.prepare(Item::Row(1)).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::INVALID, "expected a text"));
        assert!(adapter.tail().unwrap_err().message.contains("cannot be parsed"));
        let refused = factory.open(&spec("refuse"), &services).err().unwrap();
        assert_eq!((refused.code, refused.message.as_str()), (Code::INVALID, "the card says `refuse`"));
        let null = factory.open(&spec("null-adapter"), &services).err().unwrap();
        assert!(null.message.contains("null adapter"), "{null}");
        let wrong = factory.open(&spec("rank-9"), &services).unwrap().prepare(Item::Text("x")).unwrap_err();
        assert!(wrong.message.contains("rank 9"), "{wrong}");
    }
}
