//! The author's error: a kind, a sentence, and details for a machine. Any `std` error becomes one with `?`.

use std::fmt;

use chiasm_abi::stable::RString;
use chiasm_abi::{Code, PluginError};
use serde_json::Value;

/// The result of everything that a plugin does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plugin could not do what it was asked.
///
/// It is not a [`std::error::Error`] itself, so that every one of those converts into it.
#[derive(Clone, Debug)]
pub struct Error {
    code: Code,
    message: String,
    detail: Option<Value>,
}

impl Error {
    /// An error of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None }
    }

    /// The data, the parameters or the files are not usable. Say what was expected and what was got.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::INVALID, message)
    }

    /// Understood, but not served.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Code::UNSUPPORTED, message)
    }

    /// The host asked to stop.
    pub fn cancelled() -> Self {
        Self::new(Code::CANCELLED, "stopped as asked")
    }

    /// Anything else.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Code::OTHER, message)
    }

    /// Adds what was being done: "reading tokenizer.json: ...".
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// Adds a JSON object for machines.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details for machines.
    pub fn detail(&self) -> Option<&Value> {
        self.detail.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            // Some errors repeat their cause in their own text.
            if !message.contains(&inner.to_string()) {
                message = format!("{message}: {inner}");
            }
            cause = inner.source();
        }
        Self::other(message)
    }
}

/// Towards the ABI. A function, as a `From` of ours would clash with the one above.
#[doc(hidden)]
pub fn to_abi(error: Error) -> PluginError {
    PluginError {
        code: error.code,
        message: error.message.into(),
        detail: error.detail.map_or_else(RString::new, |detail| detail.to_string().into()),
    }
}

/// From the ABI.
#[doc(hidden)]
pub fn from_abi(error: &PluginError) -> Error {
    Error {
        code: error.code,
        message: error.message.to_string(),
        detail: serde_json::from_str(&error.detail).ok(),
    }
}
