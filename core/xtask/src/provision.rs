//! What demo and test need, brought once: the build, the engine, the Python peers.

use crate::shell::{Outcome, cargo, must, root, say};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Builds the workspace, sees to the engine, and makes the peers' virtual environment; returns its Python.
pub fn everything() -> Outcome<PathBuf> {
    binary()?;
    peers()
}

/// Plugins made to misbehave in the host's tests, which build them themselves: not to lie beside the binary.
pub const NOT_FOR_USERS: [&str; 4] = ["--exclude", "fixture-hostile", "--exclude", "fixture-plain"];

/// Builds the workspace and sees to the engine: what the demo needs.
pub fn binary() -> Outcome<PathBuf> {
    must(cargo().args(["build", "--workspace"]).args(NOT_FOR_USERS))?;
    let chiasm = root().join(target()).join("debug/chiasm");
    engine(&chiasm)?;
    Ok(chiasm)
}

fn engine(chiasm: &Path) -> Outcome {
    let found = Command::new(chiasm).args(["doctor", "--only", "engine"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    say("no ONNX Runtime yet: bringing it once, through your own pip, uv or npm");
    must(Command::new(chiasm).args(["engine", "install"]))
}

/// The virtual environment with what `core/xtask/peers.txt` pins, made again when that file changes.
fn peers() -> Outcome<PathBuf> {
    let folder = root().join(target()).join("peers");
    let python = folder.join("bin/python");
    let wanted = root().join("core/xtask/peers.txt");
    let stamp = folder.join("peers.txt");
    let text = std::fs::read_to_string(&wanted).map_err(|e| format!("{}: {e}", wanted.display()))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|done| done == text) {
        return Ok(python);
    }
    say("bringing the Python peers that tests compare with, once");
    must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    must(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&wanted))?;
    std::fs::write(&stamp, text).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(python)
}

/// Cargo's target folder, as seen from the root.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}
