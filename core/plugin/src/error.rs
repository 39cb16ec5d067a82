//! The error type of plugins. `?` converts any `std` error to it.

use std::fmt;

use chiasm_abi::stable::RString;
use chiasm_abi::{Code, PluginError};
use serde_json::Value;

/// The result type of plugins.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a plugin: a kind, a message, and optional details as JSON.
///
/// It does not implement [`std::error::Error`], so that every type that does converts to it.
#[derive(Clone, Debug)]
pub struct Error {
    code: Code,
    message: String,
    detail: Option<Value>,
}

impl Error {
    /// Returns an error of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None }
    }

    /// Returns an error about unusable data, parameters or files. The message says what was expected and what
    /// was got.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::INVALID, message)
    }

    /// Returns an error about a valid request that is not supported.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Code::UNSUPPORTED, message)
    }

    /// Returns the error for a request to stop.
    pub fn cancelled() -> Self {
        Self::new(Code::CANCELLED, "stopped as asked")
    }

    /// Returns an error of no particular kind.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Code::OTHER, message)
    }

    /// Puts the operation that failed before the message: "reading tokenizer.json: ...".
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// Adds details, a JSON object.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Returns the kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the details.
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
            // Some errors repeat the message of their cause.
            if !message.contains(&inner.to_string()) {
                message = format!("{message}: {inner}");
            }
            cause = inner.source();
        }
        Self::other(message)
    }
}

/// Converts an error to its ABI type. An implementation of `From` would conflict with the one above.
#[doc(hidden)]
pub fn to_abi(error: Error) -> PluginError {
    PluginError {
        code: error.code,
        message: error.message.into(),
        detail: error.detail.map_or_else(RString::new, |detail| detail.to_string().into()),
    }
}

/// Converts an error from its ABI type.
#[doc(hidden)]
pub fn from_abi(error: &PluginError) -> Error {
    Error {
        code: error.code,
        message: error.message.to_string(),
        detail: serde_json::from_str(&error.detail).ok(),
    }
}
