//! The Python package: a wheel is packed from what cargo built, and its tests run in Python.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use chiasm_testing::peers;
use std::path::Path;
use std::process::Command;

/// Runs a command, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed:\n{printed}\n{errors}");
    format!("{printed}{errors}")
}

#[test]
fn the_wheel_works_in_peers() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf();
    let folder = tempfile::tempdir().unwrap();
    let (dist, site) = (folder.path().join("dist"), folder.path().join("site"));
    let packed = Command::new(peers())
        .arg(here.join("backend.py"))
        .arg("--built")
        .arg(&built)
        .arg("-o")
        .arg(&dist)
        .output()
        .unwrap();
    let wheel = String::from_utf8(packed.stdout).unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"];
    run(Command::new(peers()).args(install).arg(&site).arg(wheel.trim()));
    // ONNX Runtime is that of the Python package, and the tests run outside the folder of the sources.
    let clean = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(folder.path()).env("PYTHONPATH", &site).env_remove("ORT_DYLIB_PATH");
        command.env("XDG_CACHE_HOME", folder.path().join("cache"));
        command
    };
    let said = run(clean(&peers()).args(["-m", "chiasm", "plugin", "list"]));
    assert!(said.contains("procrustes"), "{said}");
    let tests = ["-m", "unittest", "discover", "-v", "-s"];
    let said = run(clean(&peers()).args(tests).arg(here.join("tests")));
    assert!(said.contains("OK"), "{said}");
}
