//! Errors around a command: closed pipes, a full disk, unused options, and broken plugins.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{CommandOutput, Sandbox, npy};
use std::process::Stdio;

/// Returns the writing end of a closed pipe.
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
fn a_closed_stdout_is_not_an_error() {
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
fn a_closed_stderr_does_not_change_the_exit_code() {
    let sandbox = Sandbox::new();
    clouds(&sandbox);
    let refused = sandbox.chiasm().args(["plan", "nowhere.toml"]).stderr(closed_pipe()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    // A warning on a closed stderr is ignored.
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
fn commands_without_onnx_runtime_refuse_its_options() {
    let sandbox = Sandbox::new();
    clouds(&sandbox);
    for command in ["transport", "measure"] {
        let call = |options: &[&str]| sandbox.call(&[&[command, "x.npy", "y.npy"], options].concat());
        call(&["--device", "cuda"]).refused(command, &["runs on the CPU only", "--device cuda"]);
        call(&["--engine", "lib.so"]).refused(command, &["does not use ONNX Runtime", "--engine lib.so"]);
        for device in ["cpu", "auto"] {
            let output = call(&["--device", device]);
            assert_eq!(output.code, Some(0), "{command} --device {device}: {}", output.stderr);
        }
    }
}

#[test]
fn commands_about_plugins_report_a_broken_plugin() {
    let sandbox = Sandbox::new();
    sandbox.write("broken.so", "not a library at all");
    let broken = ["--plugin", "broken.so"];
    // The complete report is printed before the error.
    let output = sandbox.call(&[&["doctor", "--only", "plugins"], &broken[..]].concat());
    assert!(output.stdout.contains("broken.so") && output.stdout.contains("refused: "), "{}", output.stdout);
    assert!(output.stdout.contains("ridge"), "the other plugins are missing: {}", output.stdout);
    output.refused("doctor", &["broken.so"]);
    for command in [&["plugin", "why", "cca"][..], &["plugin", "list"]] {
        let printed = sandbox.good(&[command, &broken].concat());
        let line = printed.lines().find(|line| line.contains("broken.so")).unwrap_or_default();
        assert!(line.contains("refused"), "{command:?}: {printed}");
        assert!(printed.contains("cca"), "{command:?}: {printed}");
    }
    // A command that uses plugins fails.
    sandbox.call(&[&["model", "list"], &broken[..]].concat()).refused("model list", &["broken.so"]);
}
