//! Builds and installs what demo and test need: the workspace, ONNX Runtime, the Python packages.

use crate::shell::{CommandResult, cargo, print_stderr, root, run_command};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Builds the workspace, installs ONNX Runtime and the Python packages. Returns the path of that Python.
pub fn prepare() -> CommandResult<PathBuf> {
    build()?;
    python_environment()
}

/// Excludes the faulty plugins of the host's tests, which must not be installed next to the binary. Those
/// tests build them.
pub const NOT_FOR_USERS: [&str; 4] = ["--exclude", "fixture-hostile", "--exclude", "fixture-plain"];

/// Builds the workspace and installs ONNX Runtime. Returns the path of the `chiasm` binary.
pub fn build() -> CommandResult<PathBuf> {
    run_command(cargo().args(["build", "--workspace"]).args(NOT_FOR_USERS))?;
    let chiasm = root().join(target()).join("debug/chiasm");
    install_engine(&chiasm)?;
    Ok(chiasm)
}

fn install_engine(chiasm: &Path) -> CommandResult {
    let found = Command::new(chiasm).args(["doctor", "--only", "engine"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    print_stderr("ONNX Runtime is missing: installing it through pip, uv or npm");
    run_command(Command::new(chiasm).args(["engine", "install"]))
}

/// Creates the virtual environment with the packages of `core/xtask/peers.txt`, again if that file changed.
pub fn python_environment() -> CommandResult<PathBuf> {
    let folder = root().join(target()).join("peers");
    let python = folder.join("bin/python");
    let wanted = root().join("core/xtask/peers.txt");
    let stamp = folder.join("peers.txt");
    let text = std::fs::read_to_string(&wanted).map_err(|e| format!("{}: {e}", wanted.display()))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|done| done == text) {
        return Ok(python);
    }
    print_stderr("installing the Python packages that tests compare with");
    run_command(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run_command(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&wanted),
    )?;
    std::fs::write(&stamp, text).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(python)
}

/// Returns cargo's target folder, relative to the root folder unless it is absolute.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}
