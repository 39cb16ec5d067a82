//! Checks the lengths of files, functions, parameter lists and lines, and that some words do not occur.

mod exceptions;
mod functions;
mod lines;
mod retired;
mod rule;

use crate::shell::{CommandResult, print_stdout, root};
use exceptions::{EXCEPTIONS, Exception};
use retired::RETIRED;
use rule::{COLUMNS, FILE_LINES, FUNCTION_LINES, PARAMETERS, Rule};
use std::{collections::BTreeMap, path::Path, process::Command};

/// The file of the exceptions, for messages.
const TABLE: &str = "core/xtask/src/tidy/exceptions.rs";

/// One place where a file breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    rule: Rule,
    message: String,
}

/// The violations of each file.
type Violations = BTreeMap<(String, Rule), Vec<String>>;

/// Prints how many violations of each rule there are, excepted or not, then checks all files.
pub fn show() -> CommandResult {
    let violations = violations()?;
    for rule in Rule::ALL {
        let of_rule = || violations.iter().filter(|((_, broken), _)| *broken == rule);
        let count: usize = of_rule().map(|(_, messages)| messages.len()).sum();
        print_stdout(&format!("{count:5} violations in {} files: {rule:?}", of_rule().count()));
    }
    check()
}

/// Fails if a file breaks a rule without an exception, or if an exception allows more than there is.
pub fn check() -> CommandResult {
    let complaints = complaints(&violations()?, EXCEPTIONS);
    if complaints.is_empty() { Ok(()) } else { Err(format!("tidiness:\n  {}", complaints.join("\n  "))) }
}

/// Every violation in the files that git tracks, or would track.
fn violations() -> CommandResult<Violations> {
    let output = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .map_err(|e| format!("cannot run git ls-files: {e}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let mut found = Violations::new();
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        // Binary files and deleted files have no text to check.
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        for Violation { rule, message } in violations_of(name, &text) {
            found.entry((name.to_owned(), rule)).or_default().push(message);
        }
    }
    Ok(found)
}

/// The violations in one file.
fn violations_of(name: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let rust = extension == Some("rs");
    if rust {
        found.extend(rust_violations(name, text));
    }
    if rust || extension == Some("md") {
        found.extend(lines::wide(text, COLUMNS, rust).into_iter().map(|line| Violation {
            rule: Rule::Columns,
            message: format!("{name}:{line} has more than {COLUMNS} columns: wrap it"),
        }));
        found.extend(lines::occurrences(text, RETIRED).into_iter().map(|(line, word)| Violation {
            rule: Rule::RetiredWords,
            message: format!("{name}:{line} has the retired word {word:?}: use the field's term"),
        }));
    }
    found.extend(machine_paths(text).into_iter().map(|path| Violation {
        rule: Rule::MachinePaths,
        message: format!("{name} names {path:?}, which exists on one machine only"),
    }));
    found
}

/// The lengths of a Rust file, its functions and their parameter lists.
fn rust_violations(name: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES {
        let message =
            format!("{name} has {lines} lines, at most {FILE_LINES} are allowed: split it by topic");
        found.push(Violation { rule: Rule::FileLines, message });
    }
    for function in functions::functions(text) {
        let place = format!("{name}:{} `{}` has", function.line, function.name);
        if function.lines > FUNCTION_LINES {
            let count = function.lines;
            let message = format!("{place} {count} lines, at most {FUNCTION_LINES} are allowed: split it");
            found.push(Violation { rule: Rule::FunctionLines, message });
        }
        if function.public && function.parameters > PARAMETERS {
            let count = function.parameters;
            let message =
                format!("{place} {count} parameters, at most {PARAMETERS} are allowed: group them in a type");
            found.push(Violation { rule: Rule::Parameters, message });
        }
    }
    found
}

/// The paths in `text` that exist on one machine only. They are put together from halves here, so that this
/// file does not name them itself.
fn machine_paths(text: &str) -> Vec<String> {
    let paths = [["/ho", "me/"].concat(), ["/wo", "rk/"].concat(), ["/ro", "ot/"].concat()];
    paths.into_iter().filter(|path| text.contains(path.as_str())).collect()
}

/// Compares the violations with the exceptions. Returns the violations without an exception, and the
/// exceptions that allow more than there is.
fn complaints(violations: &Violations, exceptions: &[Exception]) -> Vec<String> {
    let mut found = Vec::new();
    for ((file, rule), messages) in violations {
        let allowed =
            exceptions.iter().find(|(f, r, ..)| f == file && r == rule).map_or(0, |(_, _, n, _)| *n);
        if messages.len() > allowed {
            found.extend(messages.iter().cloned());
        }
        if messages.len() > allowed && allowed > 0 {
            found.push(format!("{file}: only {allowed} of these violations of {rule:?} are excepted"));
        }
    }
    for (file, rule, count, _) in exceptions {
        let actual = violations.get(&((*file).to_owned(), *rule)).map_or(0, Vec::len);
        if actual < *count {
            let remedy =
                if actual == 0 { "remove the exception".to_owned() } else { format!("lower it to {actual}") };
            found.push(format!("{TABLE}: {file} has {actual} violations of {rule:?}, not {count}: {remedy}"));
        }
    }
    found
}

#[cfg(test)]
mod tests;
