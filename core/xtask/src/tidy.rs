//! Tidiness that no other tool holds: files a person can read in one sitting, and nothing of one machine's.

use crate::shell::{Outcome, root};
use std::{path::Path, process::Command};

/// The longest a Rust file may be.
const LINES: usize = 450;

/// The longest a line of Rust or Markdown may be, in characters.
const COLUMNS: usize = 110;

/// The folders whose lines are all that short; one that has been mended is added here.
const NARROW: &[&str] = &[
    "core/check",
    "core/graph/src",
    "core/objective",
    "core/runtime/src",
    "core/testing",
    "core/train",
    "core/xtask",
];

/// Fails with every file that is too long or names a place that exists on one machine only.
pub fn check() -> Outcome {
    let output = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .map_err(|e| format!("cannot run git ls-files: {e}"))?;
    let listing = String::from_utf8_lossy(&output.stdout);
    let complaints: Vec<String> = listing.lines().flat_map(complaints_of).collect();
    if complaints.is_empty() { Ok(()) } else { Err(format!("tidiness:\n  {}", complaints.join("\n  "))) }
}

fn complaints_of(name: &str) -> Vec<String> {
    // A binary file, or one that was deleted, holds no text.
    let Ok(text) = std::fs::read_to_string(root().join(name)) else { return Vec::new() };
    let mut complaints = Vec::new();
    if NARROW.iter().any(|folder| Path::new(name).starts_with(folder)) {
        complaints.extend(wide_lines(name, &text));
    }
    let lines = text.lines().count();
    if Path::new(name).extension().is_some_and(|e| e == "rs") && lines > LINES {
        complaints
            .push(format!("{name} has {lines} lines; a file ends at {LINES}: split it by what it is about"));
    }
    complaints.extend(
        foreign(&text).map(|word| format!("{name} names {word:?}, which exists on one machine only")),
    );
    complaints
}

/// The lines of Rust and Markdown that are too long, tables and links apart.
fn wide_lines(name: &str, text: &str) -> Vec<String> {
    if !Path::new(name).extension().is_some_and(|e| e == "rs" || e == "md") {
        return Vec::new();
    }
    let whole = |line: &str| line.starts_with('|') || line.contains("](") || line.contains("://");
    let wide =
        |line: &str| line.chars().count() > COLUMNS && !whole(line.trim_start_matches(['/', '!', ' ']));
    let number = text.lines().enumerate().filter(|(_, line)| wide(line)).map(|(at, _)| at + 1);
    number.map(|at| format!("{name}:{at} has more than {COLUMNS} columns: wrap it")).collect()
}

/// Words that only make sense on one machine. They are put together here so that this file passes its own
/// test.
fn foreign(text: &str) -> impl Iterator<Item = String> {
    let words = [["/ho", "me/"].concat(), ["/wo", "rk/"].concat(), ["/ro", "ot/"].concat()];
    words.into_iter().filter(move |word| text.contains(word.as_str())).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        check().unwrap();
    }

    #[test]
    fn a_line_that_is_too_long_is_caught_and_a_table_or_a_link_is_not() {
        let long = "x".repeat(COLUMNS);
        let text = format!("{long}\n{long}x\n| {long} |\n/// | {long} |\n[{long}](place)\n");
        assert_eq!(wide_lines("a.md", &text), ["a.md:2 has more than 110 columns: wrap it"]);
        assert!(wide_lines("a.toml", &text).is_empty());
    }

    #[test]
    fn a_machine_path_is_caught() {
        assert_eq!(foreign(&["see /ho", "me/me/x"].concat()).count(), 1);
        assert_eq!(foreign("see ./x").count(), 0);
    }
}
