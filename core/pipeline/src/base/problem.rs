//! Problems: everything wrong with what the user gave, gathered and shown at once, each with its place.
//!
//! A recipe is checked to the end before it is refused, so that one look mends it all.

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use std::{fmt, ops::Range, sync::Arc};

/// A place in a text the user gave: the recipe file, or one `--set`.
#[derive(Debug, Clone)]
pub struct Origin {
    source: Arc<NamedSource<String>>,
    span: Range<usize>,
}

impl Origin {
    /// The bytes `span` of `source`.
    pub fn new(source: &Arc<NamedSource<String>>, span: Range<usize>) -> Self {
        Self { source: Arc::clone(source), span }
    }
}

/// One thing wrong, with a code to search for, its place and what to do about it.
#[derive(Debug, Clone)]
pub struct Problem {
    code: &'static str,
    message: String,
    label: Option<(Origin, String)>,
    help: Option<String>,
}

impl Problem {
    /// A problem with no place in a file; `code` is its stable name, e.g. `chiasm::recipe::unknown_key`.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), label: None, help: None }
    }

    /// Points at the text that caused it, with a short `label` under the arrow.
    #[must_use]
    pub fn at(mut self, origin: &Origin, label: impl Into<String>) -> Self {
        self.label = Some((origin.clone(), label.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The stable name of this kind of problem.
    pub fn code_name(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.label.as_ref().map(|(origin, _)| &*origin.source as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (origin, label) = self.label.as_ref()?;
        let span = LabeledSpan::new(Some(label.clone()), origin.span.start, origin.span.len());
        Some(Box::new(std::iter::once(span)))
    }
}

/// All the problems found in one go; never empty once it is an error.
#[derive(Debug, Clone, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds the error of a result and passes its value on.
    pub fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    /// The number of problems.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// The value, or all the problems when there are any.
    ///
    /// # Errors
    /// The problems, unless there are none and there is a value.
    pub fn or<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            many => write!(f, "{} problems, nothing was started", many.len()),
        }
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.single().and_then(Diagnostic::code)
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.single().and_then(Diagnostic::help)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.single().and_then(Diagnostic::source_code)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.single().and_then(Diagnostic::labels)
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self.single() {
            Some(_) => None,
            None => Some(Box::new(self.0.iter().map(|p| p as &dyn Diagnostic))),
        }
    }
}

impl Problems {
    fn single(&self) -> Option<&Problem> {
        match self.0.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// " (did you mean `x`?)" for the nearest of `known`, or nothing when none is near.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(word, k), k))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| format!("did you mean `{k}`?"))
}
