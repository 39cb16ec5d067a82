//! Runs the user's package tool. When it fails, the error shows the last lines of its output.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::builds::EngineBuild;
use super::tool::PackageTool;
use crate::python::{self, NEUTRAL_FOLDER, PYTHON};
use crate::{Error, Result};

const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };
/// The number of a failed tool's lines that are shown.
const LAST_LINES: usize = 8;

/// Returns the first tool that is installed.
pub(super) fn first_present(cuda: bool) -> Result<PackageTool> {
    let usable = |tool: &PackageTool| !(cuda && *tool == PackageTool::Npm);
    PackageTool::ALL.into_iter().filter(usable).find(|tool| is_installed(*tool)).ok_or_else(|| {
        Error::Install(format!(
            "found none of the package tools: {PYTHON} -I -m pip, uv{}; install one, or get ONNX Runtime \
             1.{} or newer by other means and name the library with ORT_DYLIB_PATH",
            if cuda { "" } else { ", npm" },
            ort::MINOR_VERSION
        ))
    })
}

fn is_installed(tool: PackageTool) -> bool {
    let (program, arguments) = prefix(tool);
    // `uv --version` and not `uv tool run pip --version`: the latter would download pip to answer.
    let arguments = if tool == PackageTool::Uv { &[] } else { arguments };
    let Some(mut command) = python::command(program, Path::new(NEUTRAL_FOLDER)) else { return false };
    command.args(arguments).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Returns the program and the first arguments of each tool. Python is isolated from the working folder and
/// from its variables, which could name another `pip`.
fn prefix(tool: PackageTool) -> (&'static str, &'static [&'static str]) {
    match tool {
        PackageTool::Pip => (PYTHON, &["-I", "-m", "pip"]),
        PackageTool::Uv => ("uv", &["tool", "run", "pip"]),
        PackageTool::Npm => (NPM, &[]),
    }
}

/// Returns the command that downloads a build's archive into a folder.
fn command_line(build: &EngineBuild, tool: PackageTool, folder: &Path) -> Vec<String> {
    let (program, first) = prefix(tool);
    let folder = folder.display().to_string();
    let rest: Vec<String> = match tool {
        PackageTool::Npm => {
            let package = format!("{}@{}", build.package, build.version);
            ["pack", "--silent", "--pack-destination", &folder, &package].map(str::to_owned).into()
        }
        PackageTool::Pip | PackageTool::Uv => {
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

/// Runs the tool and returns the archive that it left in the folder.
pub(super) fn download(build: &EngineBuild, tool: PackageTool, folder: &Path) -> Result<PathBuf> {
    let command = command_line(build, tool, folder);
    let fail = |what: String| Error::Install(format!("{tool} {what}\n  command: {}", command.join(" ")));
    let output = python::command(&command[0], folder)
        .ok_or_else(|| fail("is not in an absolute folder of PATH".into()))?
        .args(&command[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| fail(format!("cannot be started: {e}")))?;
    if !output.status.success() {
        let output_bytes = [output.stdout, output.stderr].concat();
        return Err(fail(format!("failed ({}):\n{}", output.status, last_lines(&output_bytes))));
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(Error::io("read", folder))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "whl" || e == "tgz"))
        .collect();
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file),
        (_, _) => Err(fail("succeeded, but did not leave exactly one archive".into())),
    }
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
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
        let mut build = match builds::find(PackageTool::Pip, false) {
            Ok(build) => build,
            Err(error) => return skip(Requirement::OfficialBuild, &error.to_string()),
        };
        build.version = "0.0.0.not.a.version";
        let folder = tempfile::tempdir().unwrap();
        let message = download(&build, PackageTool::Pip, folder.path()).unwrap_err().to_string();
        assert!(message.contains("pip") && message.contains("0.0.0.not.a.version"), "{message}");
        assert!(message.contains("command: "), "{message}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let output = (0..50).map(|i| format!("line {i}\n\n")).collect::<String>();
        let kept = last_lines(output.as_bytes());
        assert_eq!(kept.lines().count(), LAST_LINES);
        assert!(kept.ends_with("line 49"));
    }
}
