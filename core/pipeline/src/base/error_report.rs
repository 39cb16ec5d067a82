//! Errors as data, for programs that call this one.

use super::{
    error::Error,
    problem::{Problem, SourceSpan},
};
use serde::Serialize;

/// An error as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// The exit code: 1 if a check failed, 2 for any other error.
    pub exit_code: u8,
    /// The problems, one or more.
    pub problems: Vec<ProblemReport>,
}

/// One problem as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProblemReport {
    /// The stable name of this kind of problem, such as `chiasm::recipe::unknown_key`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where it is in the user's input.
    pub place: Option<ProblemPlace>,
}

/// A place in the user's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProblemPlace {
    /// The file, or `--set`.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, in characters, counted from 1.
    pub column: usize,
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// What the message calls the place.
    pub label: String,
}

impl ErrorReport {
    /// Returns an error as data.
    pub fn of(error: &Error) -> Self {
        let problems = match error {
            Error::Problems(problems) => problems.iter().map(ProblemReport::of).collect(),
            other => vec![ProblemReport::plain(code(other), other.to_string())],
        };
        Self { exit_code: error.exit_code(), problems }
    }

    /// Returns wrong usage of the command line as data.
    pub fn usage(message: String) -> Self {
        Self { exit_code: 2, problems: vec![ProblemReport::plain("chiasm::usage", message)] }
    }
}

impl ProblemReport {
    fn plain(code: &str, message: String) -> Self {
        Self { code: code.to_owned(), message, help: None, place: None }
    }

    fn of(problem: &Problem) -> Self {
        Self {
            code: problem.code_name().to_owned(),
            message: problem.to_string(),
            help: problem.help_text().map(str::to_owned),
            place: problem.place().map(|(span, label)| ProblemPlace::of(span, label)),
        }
    }
}

impl ProblemPlace {
    fn of(span: &SourceSpan, label: &str) -> Self {
        let (file, text, range) = span.parts();
        let before = text.get(..range.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            start: range.start,
            end: range.end,
            label: label.to_owned(),
        }
    }
}

/// Returns the stable name of an error that is not about the user's input alone.
fn code(error: &Error) -> &'static str {
    match error {
        Error::Problems(_) => "chiasm::input",
        Error::Io { .. } => "chiasm::io",
        Error::Graph { .. } => "chiasm::graph",
        Error::Runtime(_) => "chiasm::engine",
        Error::Host(_) => "chiasm::plugin",
        Error::Gate(_) => "chiasm::gate",
        Error::Internal(_) => "chiasm::internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::problem::Problems;
    use miette::NamedSource;
    use std::sync::Arc;

    #[test]
    fn problems_keep_their_code_place_and_help() {
        let text = "seed = 1\n[align]\nplügin = 2\n";
        let source = Arc::new(NamedSource::new("recipe.toml", text.to_owned()));
        let start = text.find('2').unwrap();
        let mut problems = Problems::default();
        problems.push(
            Problem::new("chiasm::recipe::wrong_type", "expected a string")
                .at(&SourceSpan::new(&source, start..start + 1), "this value")
                .help("write an id"),
        );
        problems.push(Problem::new("chiasm::data::file", "no such file"));
        let report = ErrorReport::of(&problems.into());
        assert_eq!((report.exit_code, report.problems.len()), (2, 2));
        let place = report.problems[0].place.as_ref().unwrap();
        let found = (place.file.as_str(), place.line, place.column, &text[place.start..place.end]);
        assert_eq!(found, ("recipe.toml", 3, 10, "2"));
        assert_eq!(report.problems[0].help.as_deref(), Some("write an id"));
        assert_eq!(report.problems[1].code, "chiasm::data::file");
        let gate = ErrorReport::of(&Error::Gate("two checks failed".to_owned()));
        assert_eq!((gate.exit_code, gate.problems[0].code.as_str()), (1, "chiasm::gate"));
    }
}
