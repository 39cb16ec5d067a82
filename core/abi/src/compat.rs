//! When two builds of this ABI understand each other, and one line that says why not.

use std::fmt;

use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::type_layout::TypeLayout;

/// Which side has the larger layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutRelation {
    /// The other side has all that ours has, and maybe more.
    TheirsExtendsOurs,
    /// The other side is older: what it lacks is `None`, or its default body.
    OursExtendsTheirs,
}

/// Neither layout extends the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutMismatch {
    /// The first difference, in one line.
    pub line: String,
    /// abi_stable's whole text (a thousand lines and more).
    pub full: String,
}

impl fmt::Display for LayoutMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for LayoutMismatch {}

/// Accepts when their layout extends ours or ours extends theirs.
pub fn check(
    ours: &'static TypeLayout,
    theirs: &'static TypeLayout,
) -> Result<LayoutRelation, LayoutMismatch> {
    let Err(forward) = check_layout_compatibility(ours, theirs) else {
        return Ok(LayoutRelation::TheirsExtendsOurs);
    };
    if check_layout_compatibility(theirs, ours).is_ok() {
        return Ok(LayoutRelation::OursExtendsTheirs);
    }
    let full = forward.to_string();
    Err(LayoutMismatch { line: first_difference(&full), full })
}

/// The first `Error:` paragraph of abi_stable's text, on one line and of bounded length.
fn first_difference(full: &str) -> String {
    const LONGEST: usize = 300;
    let lines: Vec<&str> = full.lines().map(str::trim).collect();
    let start = lines.iter().position(|line| line.starts_with("Error:")).unwrap_or(0);
    let words = lines[start..].iter().take(6).flat_map(|line| line.split_whitespace());
    let line = words.collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        line
    } else {
        line.chars().take(LONGEST).chain(" ...".chars()).collect()
    }
}
