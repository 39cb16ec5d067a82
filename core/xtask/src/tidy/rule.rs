//! The rules of tidiness and their limits.

/// The most lines of a Rust file.
pub const FILE_LINES: usize = 400;

/// The most lines of a function, from its `fn` keyword to its closing brace.
pub const FUNCTION_LINES: usize = 60;

/// The most parameters of a public function, without `self`.
pub const PARAMETERS: usize = 6;

/// The most characters of a line of Rust or Markdown.
pub const COLUMNS: usize = 110;

/// The rules of tidiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A Rust file has at most [`FILE_LINES`] lines.
    FileLines,
    /// A function has at most [`FUNCTION_LINES`] lines.
    FunctionLines,
    /// A public function has at most [`PARAMETERS`] parameters.
    Parameters,
    /// A line of Rust or Markdown has at most [`COLUMNS`] characters.
    Columns,
    /// No word of [`RETIRED`](super::retired::RETIRED) occurs in Rust or Markdown.
    RetiredWords,
    /// No text names a path that exists on one machine only.
    MachinePaths,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 6] = [
        Self::FileLines,
        Self::FunctionLines,
        Self::Parameters,
        Self::Columns,
        Self::RetiredWords,
        Self::MachinePaths,
    ];
}
