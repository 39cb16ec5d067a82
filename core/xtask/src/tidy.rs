//! Tidiness that no other tool holds: files a person can read in one sitting, and nothing of one machine's.

use crate::shell::{Outcome, root};
use std::{path::Path, process::Command};

/// The longest a Rust file may be.
const LINES: usize = 450;

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
    let Ok(text) = std::fs::read_to_string(root().join(name)) else { return Vec::new() }; // binary, or deleted
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if Path::new(name).extension().is_some_and(|e| e == "rs") && lines > LINES {
        complaints.push(format!("{name} has {lines} lines; a file ends at {LINES}: find its second room"));
    }
    complaints.extend(
        foreign(&text).map(|word| format!("{name} names {word:?}, which exists on one machine only")),
    );
    complaints
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
    fn a_machine_path_is_caught() {
        assert_eq!(foreign(&["see /ho", "me/me/x"].concat()).count(), 1);
        assert_eq!(foreign("see ./x").count(), 0);
    }
}
