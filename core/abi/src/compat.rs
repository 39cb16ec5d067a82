//! Checks whether two builds of this ABI are compatible, and explains in one line why they are not.
//!
//! ```
//! use chiasm_abi::compat::{LayoutRelation, check};
//! use chiasm_abi::stable::StableAbi;
//! use chiasm_abi::{OwnedTensor, PluginError};
//! let (tensor, error) = (OwnedTensor::LAYOUT, PluginError::LAYOUT);
//! assert_eq!(check(tensor, tensor), Ok(LayoutRelation::TheirsExtendsOurs));
//! let mismatch = check(tensor, error).unwrap_err();
//! assert!(mismatch.to_string().starts_with("Error:"));
//! ```

use std::fmt;

use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::type_layout::TypeLayout;

/// Which of two compatible layouts extends the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutRelation {
    /// Theirs has every field of ours, and possibly more.
    TheirsExtendsOurs,
    /// Theirs is older. A field that it lacks reads as `None`; a method that it lacks has its default body.
    OursExtendsTheirs,
}

/// The error of two layouts of which neither extends the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutMismatch {
    /// The first difference, in one line.
    pub line: String,
    /// The full report of abi_stable, which may exceed a thousand lines.
    pub full: String,
}

impl fmt::Display for LayoutMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for LayoutMismatch {}

/// Compares two layouts and returns which one extends the other.
///
/// # Errors
/// If neither layout extends the other.
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

/// Returns the first `Error:` paragraph of abi_stable's report as one line of bounded length.
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
