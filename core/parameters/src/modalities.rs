//! A parameter that may differ from modality to modality.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::ParameterError;

/// One value for all modalities, or values by modality name: `0.1`, or `{ image = 0.1, text = 0.03 }`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PerModality<T> {
    /// The same for every modality.
    All(T),
    /// Values by name. A modality without a name here has no value.
    Each(BTreeMap<String, T>),
}

impl<T> From<T> for PerModality<T> {
    fn from(value: T) -> Self {
        Self::All(value)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for PerModality<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(from)?;
        let read = if value.is_object() {
            serde_json::from_value(value).map(Self::Each)
        } else {
            serde_json::from_value(value).map(Self::All)
        };
        read.map_err(D::Error::custom)
    }
}

impl<T> PerModality<T> {
    /// Values in the order of these names.
    pub fn each(names: &[&str], values: &[T]) -> Self
    where
        T: Clone,
    {
        Self::Each(names.iter().map(|name| (*name).to_owned()).zip(values.iter().cloned()).collect())
    }

    /// The value of a modality, if one is given.
    pub fn get(&self, name: &str) -> Option<&T> {
        match self {
            Self::All(value) => Some(value),
            Self::Each(values) => values.get(name),
        }
    }

    /// Every value given.
    pub fn values(&self) -> Vec<&T> {
        match self {
            Self::All(value) => vec![value],
            Self::Each(values) => values.values().collect(),
        }
    }

    /// Checks that every name is a modality.
    ///
    /// # Errors
    /// A name that is no modality; the message lists the modalities.
    pub fn check_names(&self, parameter: &str, modalities: &[&str]) -> Result<(), ParameterError> {
        let Self::Each(values) = self else { return Ok(()) };
        match values.keys().find(|key| !modalities.contains(&key.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let expected = format!("modalities among {}", modalities.join(", "));
                Err(ParameterError::new(parameter, expected, format!("`{unknown}`")))
            }
        }
    }
}
