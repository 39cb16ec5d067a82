//! The description of a parameter, and the types of its value.

use crate::{ParameterError, Range};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The description of one parameter: its name, type, range, default and documentation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Parameter {
    /// The name, which is the key in a recipe.
    pub name: String,
    /// The type of its value.
    #[serde(flatten)]
    pub kind: Kind,
    /// The range of every number in its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// Its value when not set; `null` if the method then chooses one.
    pub default: Value,
    /// What it does, in a sentence or two.
    pub doc: String,
}

impl Parameter {
    /// Describes the values that it takes: the kind, and the range if there is one.
    pub fn expected(&self) -> String {
        self.kind.in_range(self.range.as_ref())
    }

    /// Checks a value against the kind and the range. `null` stands for a parameter that is not set.
    ///
    /// # Errors
    /// When the value is of another kind or a number lies outside the range.
    pub fn check(&self, value: &Value) -> Result<(), ParameterError> {
        if value.is_null() {
            return Ok(());
        }
        if let Err(mut error) = self.kind.check(value) {
            error.parameter.insert_str(0, &self.name);
            if error.parameter == self.name {
                error.expected = self.expected();
            }
            return Err(error);
        }
        let numbers_in_range = |range: &Range| range.contains_all(value);
        if self.range.as_ref().is_none_or(numbers_in_range) {
            return Ok(());
        }
        Err(ParameterError::new(&self.name, self.expected(), value.to_string()))
    }
}

/// The type of a parameter's value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Any text.
    Text,
    /// One of these words.
    Choice {
        /// The words, each with what it means.
        values: Vec<ChoiceValue>,
    },
    /// A list.
    List {
        /// What each entry holds.
        of: Box<Kind>,
        /// The number of entries, where it is fixed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        length: Option<usize>,
    },
    /// A table of parameters.
    Table {
        /// The parameters of the table.
        of: Vec<Parameter>,
    },
    /// One value for all modalities, or a table of values by the name of the modality.
    PerModality {
        /// What each value holds.
        of: Box<Kind>,
    },
}

/// One word of a [`Kind::Choice`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChoiceValue {
    /// The word.
    pub name: String,
    /// What it means.
    pub doc: String,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_range(None))
    }
}

impl Kind {
    /// Describes the kind, with the range of its numbers.
    pub(crate) fn in_range(&self, range: Option<&Range>) -> String {
        let range = range.map(|range| format!(" {range}")).unwrap_or_default();
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Integer => format!("an integer{range}"),
            Self::Number => format!("a number{range}"),
            Self::Text => "text".to_owned(),
            Self::Choice { values } => {
                let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
                match names.split_last() {
                    Some((last, [])) => (*last).to_owned(),
                    Some((last, [first])) => format!("{first} or {last}"),
                    Some((last, others)) => format!("one of {} or {last}", others.join(", ")),
                    None => "nothing".to_owned(),
                }
            }
            Self::List { of, length: Some(length) } => format!("a list of {length} {}{range}", plural(of)),
            Self::List { of, length: None } => format!("a list of {}{range}", plural(of)),
            Self::Table { .. } => "a table".to_owned(),
            Self::PerModality { of } => format!("{of}{range}, or a table of them by modality"),
        }
    }

    /// Checks that a JSON value is of this kind. The error's `parameter` is the place inside the value.
    pub(crate) fn check(&self, value: &Value) -> Result<(), ParameterError> {
        let right = match (self, value) {
            (Self::Boolean, Value::Bool(_)) | (Self::Text, Value::String(_)) => true,
            (Self::Integer, Value::Number(number)) => number.is_u64() || number.is_i64(),
            (Self::Number, Value::Number(_)) => true,
            (Self::Choice { values }, Value::String(given)) => values.iter().any(|v| v.name == *given),
            (Self::List { of, length }, Value::Array(entries)) => {
                for (at, entry) in entries.iter().enumerate() {
                    of.check(entry).map_err(|error| inside(&format!("[{at}]"), error))?;
                }
                length.is_none_or(|length| length == entries.len())
            }
            (Self::Table { of }, Value::Object(object)) => {
                check_object(of, object).map_err(|error| inside(".", error))?;
                true
            }
            (Self::PerModality { of }, Value::Object(values)) => {
                for (name, value) in values {
                    of.check(value).map_err(|error| inside(&format!(".{name}"), error))?;
                }
                true
            }
            (Self::PerModality { of }, value) => return of.check(value).map_err(|e| self.instead(e)),
            _ => false,
        };
        if right { Ok(()) } else { Err(ParameterError::new("", self.to_string(), value.to_string())) }
    }

    /// Replaces the expectation by that of this kind, if the error is about the whole value.
    fn instead(&self, error: ParameterError) -> ParameterError {
        if error.parameter.is_empty() {
            ParameterError { expected: self.to_string(), ..error }
        } else {
            error
        }
    }
}

fn plural(kind: &Kind) -> String {
    match kind {
        Kind::Integer => "integers".to_owned(),
        Kind::Number => "numbers".to_owned(),
        Kind::Table { .. } => "tables".to_owned(),
        other => format!("entries, each {other}"),
    }
}

fn inside(place: &str, mut error: ParameterError) -> ParameterError {
    error.parameter.insert_str(0, place);
    error
}

/// Checks the keys and the values of an object against a list of parameters.
///
/// # Errors
/// The first key that is unknown, or the first value that is of another kind or out of range.
pub fn check_object(list: &[Parameter], object: &Map<String, Value>) -> Result<(), ParameterError> {
    for (key, value) in object {
        match list.iter().find(|parameter| parameter.name == *key) {
            Some(parameter) => parameter.check(value)?,
            None => {
                return Err(ParameterError::unknown(
                    key,
                    list.iter().map(|parameter| parameter.name.as_str()),
                ));
            }
        }
    }
    Ok(())
}
