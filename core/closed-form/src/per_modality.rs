//! A parameter that may differ from modality to modality.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::check;
use crate::{Error, Result};

/// One value for all modalities, or values by modality name: `0.1`, or `{ image = 0.1, text = 0.03 }`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PerModality<T> {
    /// The same for every modality.
    All(T),
    /// By name; modalities that are not named have no value given.
    Each(BTreeMap<String, T>),
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for PerModality<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let read = if value.is_object() {
            serde_json::from_value(value).map(Self::Each)
        } else {
            serde_json::from_value(value).map(Self::All)
        };
        read.map_err(D::Error::custom)
    }
}

impl<T: Clone> PerModality<T> {
    /// One value for each of these names.
    pub(crate) fn each(names: &[&str], values: &[T]) -> Self {
        Self::Each(names.iter().map(|name| (*name).to_owned()).zip(values.iter().cloned()).collect())
    }

    /// The value of a modality, if one is given.
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        match self {
            Self::All(value) => Some(value),
            Self::Each(values) => values.get(name),
        }
    }
}

/// The value given for each of `names`; fails on a name that is none of the modalities.
pub(crate) fn resolve<T: Clone + Debug>(
    parameter: &'static str,
    given: Option<&PerModality<T>>,
    names: &[&str],
) -> Result<Vec<Option<T>>> {
    if let Some(PerModality::Each(values)) = given
        && let Some(unknown) = values.keys().find(|key| !names.contains(&key.as_str()))
    {
        return Err(Error::data(
            format!("parameter `{parameter}`"),
            format!("modalities among {}", names.join(", ")),
            format!("`{unknown}`"),
        ));
    }
    Ok(names.iter().map(|name| given.and_then(|given| given.get(name)).cloned()).collect())
}

/// The value of each of `names`; fails on a name that is none of the modalities, and where one has no value.
pub(crate) fn complete<T: Clone + Debug>(
    parameter: &'static str,
    given: &PerModality<T>,
    names: &[&str],
) -> Result<Vec<T>> {
    let values = resolve(parameter, Some(given), names)?;
    let value = |(value, name): (Option<T>, &&str)| {
        let missing = || {
            let what = format!("parameter `{parameter}`");
            Error::data(what, "a value for every modality", format!("none for `{name}`"))
        };
        value.ok_or_else(missing)
    };
    values.into_iter().zip(names).map(value).collect()
}

/// Fails unless every value given is `good`; names the parameter, the range and the value.
pub(crate) fn check_each<T: Debug>(
    name: &'static str,
    given: Option<&PerModality<T>>,
    expected: &'static str,
    good: impl Fn(&T) -> bool,
) -> Result<()> {
    match given {
        None => Ok(()),
        Some(PerModality::All(value)) => check(name, &Some(value), expected, |value| good(value)),
        Some(PerModality::Each(values)) => {
            values.values().try_for_each(|value| check(name, &Some(value), expected, |value| good(value)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_value_or_values_by_name() {
        let read = |value: Value| serde_json::from_value::<PerModality<f64>>(value);
        let all = read(json!(0.5)).unwrap();
        assert_eq!(resolve("ridge", Some(&all), &["a", "b"]).unwrap(), [Some(0.5), Some(0.5)]);
        let some = read(json!({ "b": 2.0 })).unwrap();
        assert_eq!(resolve("ridge", Some(&some), &["a", "b"]).unwrap(), [None, Some(2.0)]);
        let message = resolve("ridge", Some(&some), &["a", "c"]).unwrap_err().to_string();
        assert_eq!(message, "parameter `ridge`: expected modalities among a, c, got `b`");
        assert!(read(json!("much")).unwrap_err().to_string().contains("expected f64"));
    }
}
