//! What reaches the user when something around a verb is wrong: a pipe that is closed, a disk that is full,
//! an option that the verb does not use, a plugin that is broken.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{CommandOutput, Sandbox, npy};
use std::process::Stdio;

/// The writing end of a pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Two files of vectors, `x.npy` and `y.npy`.
fn clouds(sandbox: &Sandbox) {
    let values: Vec<f32> = (0..40 * 3).map(|i| (i * i % 17) as f32 / 17.0).collect();
    sandbox.write("x.npy", npy(40, 3, &values));
    sandbox.write("y.npy", npy(40, 3, &values.iter().map(|v| v * v).collect::<Vec<_>>()));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let sandbox = Sandbox::new();
    clouds(&sandbox);
    for arguments in [
        &["plugin", "list"][..],
        &["plugin", "list", "--format", "json"],
        &["plugin", "why", "cca"],
        &["model", "list"],
        &["doctor", "--only", "plugins"],
        &["measure", "x.npy", "y.npy", "--only", "cka_linear"],
        &["transport", "x.npy", "y.npy"],
        &["--help"],
    ] {
        let output = sandbox.chiasm().args(arguments).stdout(closed_pipe()).output().unwrap();
        let output = CommandOutput::of(output);
        assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn an_error_that_nobody_reads_keeps_its_exit_code() {
    let sandbox = Sandbox::new();
    clouds(&sandbox);
    let refused = sandbox.chiasm().args(["plan", "nowhere.toml"]).stderr(closed_pipe()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    // A warning that nobody reads does not end the work.
    let warned = ["transport", "x.npy", "y.npy", "--iterations", "1"];
    let warned = sandbox.chiasm().args(warned).stderr(closed_pipe()).output().unwrap();
    assert_eq!(warned.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&warned.stdout).contains("marginal_error"));
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_do_not_fit_on_the_disk_are_an_error() {
    let sandbox = Sandbox::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = sandbox.chiasm().args(["plugin", "list"]).stdout(full).output().unwrap();
    CommandOutput::of(output).refused("a full disk", &["cannot write stdout"]);
}

#[test]
fn verbs_that_need_no_engine_refuse_options_about_it() {
    let sandbox = Sandbox::new();
    clouds(&sandbox);
    for verb in ["transport", "measure"] {
        let call = |options: &[&str]| sandbox.call(&[&[verb, "x.npy", "y.npy"], options].concat());
        call(&["--device", "cuda"]).refused(verb, &["runs on the CPU only", "--device cuda"]);
        call(&["--engine", "lib.so"]).refused(verb, &["needs no ONNX Runtime", "--engine lib.so"]);
        for device in ["cpu", "auto"] {
            let output = call(&["--device", device]);
            assert_eq!(output.code, Some(0), "{verb} --device {device}: {}", output.stderr);
        }
    }
}

#[test]
fn a_broken_plugin_is_a_finding_of_the_verbs_that_look_at_plugins() {
    let sandbox = Sandbox::new();
    sandbox.write("broken.so", "not a library at all");
    let broken = ["--plugin", "broken.so"];
    // The whole report, then the error: a script sees that what it named cannot be used.
    let output = sandbox.call(&[&["doctor", "--only", "plugins"], &broken[..]].concat());
    assert!(output.stdout.contains("broken.so") && output.stdout.contains("refused: "), "{}", output.stdout);
    assert!(output.stdout.contains("ridge"), "the other plugins are missing: {}", output.stdout);
    output.refused("doctor", &["broken.so"]);
    for verb in [&["plugin", "why", "cca"][..], &["plugin", "list"]] {
        let said = sandbox.good(&[verb, &broken].concat());
        let line = said.lines().find(|line| line.contains("broken.so")).unwrap_or_default();
        assert!(line.contains("refused"), "{verb:?}: {said}");
        assert!(said.contains("cca"), "{verb:?}: {said}");
    }
    // A verb that would use plugins still stops.
    sandbox.call(&[&["model", "list"], &broken[..]].concat()).refused("model list", &["broken.so"]);
}
