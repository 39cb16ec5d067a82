//! The tests that skipped themselves: lists them, and checks that this machine lacks what they need.

use crate::{
    provision,
    shell::{CommandResult, print_stderr, root},
};
use chiasm_testing::{Requirement, SkippedTest};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Creates the empty file that the tests append to. `CHIASM_SKIPPED` must hold its path.
pub fn fresh_file() -> CommandResult<PathBuf> {
    let path = root().join(provision::target()).join("skipped-tests.tsv");
    std::fs::write(&path, "").map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(path)
}

/// Prints how many tests were skipped and why, and returns them.
pub fn report(path: &Path) -> CommandResult<BTreeSet<SkippedTest>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let skipped = parse(&text)?;
    print_stderr(&summary(&skipped));
    Ok(skipped)
}

/// Fails if a skipped test needed something that this machine has.
pub fn verify(skipped: &BTreeSet<SkippedTest>) -> CommandResult {
    let needed: BTreeSet<Requirement> = skipped.iter().map(|test| test.requirement).collect();
    let present: BTreeSet<Requirement> = needed.into_iter().filter(|needed| is_met(*needed)).collect();
    let wrong: BTreeSet<SkippedTest> =
        skipped.iter().filter(|test| present.contains(&test.requirement)).cloned().collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("this machine has what these tests were skipped for; run or fix them\n{}", list(&wrong)))
}

fn parse(text: &str) -> CommandResult<BTreeSet<SkippedTest>> {
    let read = |line: &str| {
        SkippedTest::parse(line).ok_or_else(|| format!("the file of skipped tests has the line {line:?}"))
    };
    text.lines().map(read).collect()
}

fn summary(skipped: &BTreeSet<SkippedTest>) -> String {
    match skipped.len() {
        0 => "no test was skipped".to_owned(),
        1 => format!("1 test was skipped\n{}", list(skipped)),
        count => format!("{count} tests were skipped\n{}", list(skipped)),
    }
}

fn list(skipped: &BTreeSet<SkippedTest>) -> String {
    let line = |test: &SkippedTest| format!("  {}: needs {} ({})", test.test, test.requirement, test.detail);
    skipped.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Whether this machine has what some tests need.
fn is_met(requirement: Requirement) -> bool {
    match requirement {
        // xtask installs it before the tests.
        Requirement::Engine => true,
        Requirement::RealData => chiasm_testing::real_folder().join("models").is_dir(),
        Requirement::SmallFileSystem => can_mount(),
        Requirement::NoCuda => !cuda_is_ready(),
        Requirement::ProcessStatus => {
            std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("VmHWM:"))
        }
        Requirement::SystemLibrary => cfg!(all(target_os = "linux", target_env = "gnu")),
        Requirement::OfficialBuild => {
            cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))
        }
        // The test has tried to import it.
        Requirement::Package => false,
    }
}

/// Whether a user may mount a file system in a namespace of their own. It is unmounted when the command ends.
fn can_mount() -> bool {
    let folder = root().join(provision::target());
    Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(folder)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn cuda_is_ready() -> bool {
    let chiasm = root().join(provision::target()).join("debug/chiasm");
    let output = Command::new(chiasm).args(["doctor", "--only", "devices", "--format", "json"]).output();
    let report = output.ok().and_then(|o| serde_json::from_slice::<serde_json::Value>(&o.stdout).ok());
    report.is_some_and(|report| report["devices"]["cuda"] == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_tests_are_counted_once_and_listed() {
        let text = "engine\tchiasm-x a::b\tno library\nengine\tchiasm-x a::b\tno library\n\
                    small-file-system\tchiasm c\tmount fails\n";
        let summary = summary(&parse(text).unwrap());
        assert!(summary.starts_with("2 tests were skipped\n"), "{summary}");
        assert!(summary.contains("chiasm-x a::b: needs engine (no library)"), "{summary}");
        assert!(parse("moon\tchiasm-x a::b\tnone\n").unwrap_err().contains("moon"));
    }

    #[test]
    fn a_skip_fails_when_the_machine_has_what_was_missing() {
        let skipped = parse("engine\tchiasm-x a::b\tno library\n").unwrap();
        assert!(verify(&skipped).unwrap_err().contains("chiasm-x a::b"));
        assert!(verify(&BTreeSet::new()).is_ok());
    }
}
