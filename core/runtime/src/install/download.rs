//! Running the user's package tool. Its output is kept and its last lines go into the error.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::builds::Build;
use super::tool::Tool;
use crate::{Error, Result};

const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };
/// How many of a failed tool's lines are shown.
const LAST_LINES: usize = 8;

/// The first tool that answers.
pub(super) fn first_present(cuda: bool) -> Result<Tool> {
    let usable = |tool: &Tool| !(cuda && *tool == Tool::Npm);
    Tool::ALL.into_iter().filter(usable).find(|tool| answers(*tool)).ok_or_else(|| {
        Error::Install(format!(
            "none of the package tools is there: {PYTHON} -m pip, uv{}; install one, or get ONNX Runtime \
             1.{} or newer \
             by other means and name the library with ORT_DYLIB_PATH",
            if cuda { "" } else { ", npm" },
            ort::MINOR_VERSION
        ))
    })
}

fn answers(tool: Tool) -> bool {
    let (program, arguments) = prefix(tool);
    // `uv --version` and not `uv tool run pip --version`: the latter would download pip to answer.
    let arguments = if tool == Tool::Uv { &[] } else { arguments };
    let mut command = Command::new(program);
    command.args(arguments).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The words with which each tool begins.
fn prefix(tool: Tool) -> (&'static str, &'static [&'static str]) {
    match tool {
        Tool::Pip => (PYTHON, &["-m", "pip"]),
        Tool::Uv => ("uv", &["tool", "run", "pip"]),
        Tool::Npm => (NPM, &[]),
    }
}

/// The whole command that brings a build's archive into a folder.
fn words(build: &Build, tool: Tool, folder: &Path) -> Vec<String> {
    let (program, first) = prefix(tool);
    let folder = folder.display().to_string();
    let rest: Vec<String> = match tool {
        Tool::Npm => {
            let package = format!("{}@{}", build.package, build.version);
            ["pack", "--silent", "--pack-destination", &folder, &package].map(str::to_owned).into()
        }
        Tool::Pip | Tool::Uv => {
            let package = format!("{}=={}", build.package, build.version);
            let pinned = ["--platform", build.platform, "--python-version", "3.11", "-d", &folder, &package];
            ["download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
                .into_iter()
                .chain(pinned)
                .map(str::to_owned)
                .collect()
        }
    };
    std::iter::once(program).chain(first.iter().copied()).map(str::to_owned).chain(rest).collect()
}

/// Runs the tool and returns the one archive it left in the folder.
pub(super) fn download(build: &Build, tool: Tool, folder: &Path) -> Result<PathBuf> {
    let words = words(build, tool, folder);
    let fail = |what: String| Error::Install(format!("{tool} {what}\n  command: {}", words.join(" ")));
    let output = Command::new(&words[0])
        .args(&words[1..])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| fail(format!("cannot be started: {e}")))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(fail(format!("failed ({}):\n{}", output.status, last_lines(&said))));
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(Error::io("read", folder))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "whl" || e == "tgz"))
        .collect();
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file),
        (_, _) => Err(fail("said that it succeeded, but left no single archive".into())),
    }
}

fn last_lines(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..]
        .iter()
        .map(|l| format!("    {l}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::builds;
    use super::*;
    use chiasm_testing::{Requirement, skip};

    #[test]
    fn a_failed_tool_is_named_with_its_command_and_last_lines() {
        let mut build = match builds::find(Tool::Pip, false) {
            Ok(build) => build,
            Err(error) => return skip(Requirement::OfficialBuild, &error.to_string()),
        };
        build.version = "0.0.0.not.a.version";
        let folder = tempfile::tempdir().unwrap();
        let message = download(&build, Tool::Pip, folder.path()).unwrap_err().to_string();
        assert!(message.contains("pip") && message.contains("0.0.0.not.a.version"), "{message}");
        assert!(message.contains("command: "), "{message}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let said = (0..50).map(|i| format!("line {i}\n\n")).collect::<String>();
        let kept = last_lines(said.as_bytes());
        assert_eq!(kept.lines().count(), LAST_LINES);
        assert!(kept.ends_with("line 49"));
    }
}
