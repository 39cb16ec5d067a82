//! Values of a [`PerModality`] parameter in the order of the modalities.

use std::fmt::Debug;

use chiasm_parameters::PerModality;

use crate::{Error, Result};

/// Returns the value given for each of `names`. Fails if a value is given for another name.
pub(crate) fn resolve<T: Clone + Debug>(
    parameter: &'static str,
    given: Option<&PerModality<T>>,
    names: &[&str],
) -> Result<Vec<Option<T>>> {
    if let Some(given) = given {
        given.check_names(parameter, names)?;
    }
    Ok(names.iter().map(|name| given.and_then(|given| given.get(name)).cloned()).collect())
}

/// Returns the value of each of `names`. Fails if one has no value, or if a value is given for another name.
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
