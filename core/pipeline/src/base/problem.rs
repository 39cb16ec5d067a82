//! Problems in the user's input, each with its location in the recipe.
//!
//! A recipe is checked to the end, and all problems are reported together. Control characters in them, which
//! may come from files of others, are escaped.

use super::visible::visible;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use std::{fmt, ops::Range, sync::Arc};

/// A range of bytes in the user's input: in the recipe file, or in one `--set` assignment.
#[derive(Debug, Clone)]
pub struct SourceSpan {
    source: Arc<NamedSource<String>>,
    span: Range<usize>,
}

impl SourceSpan {
    /// Returns the bytes `span` of `source`.
    pub fn new(source: &Arc<NamedSource<String>>, span: Range<usize>) -> Self {
        Self { source: Arc::clone(source), span }
    }

    /// Returns the name of the input, its text, and the range.
    pub(super) fn parts(&self) -> (&str, &str, Range<usize>) {
        (self.source.name(), self.source.inner(), self.span.clone())
    }
}

/// One problem in the user's input: a stable code, a message, its location, and what to do about it.
#[derive(Debug, Clone)]
pub struct Problem {
    code: &'static str,
    message: String,
    label: Option<(SourceSpan, String)>,
    help: Option<String>,
}

impl Problem {
    /// Returns a problem without a location; `code` is its stable name, e.g. `chiasm::recipe::unknown_key`.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: visible(&message.into()).into_owned(), label: None, help: None }
    }

    /// Adds the location of the text that caused it; `label` is shown below that text.
    #[must_use]
    pub fn at(mut self, origin: &SourceSpan, label: impl Into<String>) -> Self {
        self.label = Some((origin.clone(), visible(&label.into()).into_owned()));
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(visible(&help.into()).into_owned());
        self
    }

    /// Adds the word of `known` that the user may have meant by `word`, if one is similar.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match did_you_mean(word, known) {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Adds what the user can do about it, unless that was said.
    #[must_use]
    pub fn or_help(self, help: impl Into<String>) -> Self {
        if self.help.is_some() { self } else { self.help(help) }
    }

    /// Returns what the user can do about it.
    pub(super) fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns the location of the text that caused it, and its label.
    pub(super) fn place(&self) -> Option<(&SourceSpan, &str)> {
        self.label.as_ref().map(|(span, label)| (span, label.as_str()))
    }

    /// Returns the stable code of this kind of problem.
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

/// Problems that are reported together. Not empty when returned as an error.
#[derive(Debug, Clone, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds the error of a result, or returns its value.
    pub fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    /// Returns the number of problems.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no problems.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Returns the value if there are no problems.
    ///
    /// # Errors
    /// The problems, if there are any or if there is no value.
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
            many => write!(f, "{} problems; nothing was started", many.len()),
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

/// Returns "did you mean `x`?" for the word of `known` that is most similar to `word`, or `None` if none is.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(word, k), k))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| format!("did you mean `{k}`?"))
}
