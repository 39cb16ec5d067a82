//! The range of a number.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// An interval of numbers. Without a lower or an upper end it is unbounded on that side.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Range {
    /// The smallest number allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least: Option<f64>,
    /// All allowed numbers are larger than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The largest number allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<f64>,
}

impl Range {
    /// Whether the number lies in the interval; NaN and infinities never do.
    pub fn contains(&self, number: f64) -> bool {
        number.is_finite()
            && self.least.is_none_or(|least| number >= least)
            && self.above.is_none_or(|above| number > above)
            && self.most.is_none_or(|most| number <= most)
    }

    /// Whether all numbers in a JSON value do.
    pub(crate) fn contains_all(&self, value: &Value) -> bool {
        match value {
            Value::Number(number) => number.as_f64().is_some_and(|number| self.contains(number)),
            Value::Array(values) => values.iter().all(|value| self.contains_all(value)),
            Value::Object(values) => values.values().all(|value| self.contains_all(value)),
            _ => true,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.above, self.most) {
            (Some(least), None, Some(most)) => write!(f, "from {least} to {most}"),
            (Some(least), None, None) => write!(f, "of at least {least}"),
            (_, Some(above), Some(most)) => write!(f, "above {above}, at most {most}"),
            (_, Some(above), None) => write!(f, "above {above}"),
            (None, None, Some(most)) => write!(f, "of at most {most}"),
            (None, None, None) => write!(f, "that is finite"),
        }
    }
}
