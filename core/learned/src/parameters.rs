//! Reading of parameters that may differ from modality to modality.

use chiasm_closed_form::PerModality;
use chiasm_plugin::{Error, Result};

/// The value of a modality, if one is given.
pub fn value_of<'a, T>(given: Option<&'a PerModality<T>>, name: &str) -> Option<&'a T> {
    match given? {
        PerModality::All(value) => Some(value),
        PerModality::Each(values) => values.get(name),
    }
}

/// Every value given.
pub fn values<T>(given: Option<&PerModality<T>>) -> Vec<&T> {
    match given {
        None => Vec::new(),
        Some(PerModality::All(value)) => vec![value],
        Some(PerModality::Each(values)) => values.values().collect(),
    }
}

/// Fails on a table with a name that is none of the modalities.
///
/// # Errors
/// [`Error::invalid`] with the parameter, the modalities and the name.
pub fn check_names<T>(parameter: &str, given: Option<&PerModality<T>>, names: &[&str]) -> Result<()> {
    let Some(PerModality::Each(values)) = given else { return Ok(()) };
    match values.keys().find(|key| !names.contains(&key.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let message = format!("expected modalities among {}, got `{unknown}`", names.join(", "));
            Err(Error::invalid(format!("parameter `{parameter}`: {message}")))
        }
    }
}
