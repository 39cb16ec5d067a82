//! The trait of a struct of parameters, and reading one from JSON.

use crate::{Parameter, ParameterError, check_object};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A struct whose fields are the parameters of a method. Implement it with `#[derive(Parameters)]`.
pub trait Parameters: Serialize + DeserializeOwned + Default {
    /// The parameters, in the order of the fields.
    fn list() -> Vec<Parameter>;

    /// Checks the range of every number, and the conditions on several parameters.
    ///
    /// # Errors
    /// The first parameter that is refused.
    fn check(&self) -> Result<(), ParameterError>;

    /// The parameters as a JSON object, without those that are not set.
    fn to_json(&self) -> Value {
        let Ok(Value::Object(mut object)) = serde_json::to_value(self) else {
            return Value::Object(Map::new());
        };
        object.retain(|_, value| !value.is_null());
        Value::Object(object)
    }
}

/// Reads parameters from a JSON object; `null` reads as an object without keys.
///
/// # Errors
/// When the value is no object, a key is unknown, a value is of another kind or out of range, or the
/// parameters contradict each other.
pub fn read<P: Parameters>(value: &Value) -> Result<P, ParameterError> {
    let empty = Map::new();
    let object = match value {
        Value::Null => &empty,
        Value::Object(object) => object,
        other => return Err(ParameterError::new("", "a table of parameters", other.to_string())),
    };
    let list = P::list();
    check_object(&list, object)?;
    // A parameter that is `null` is not set and has its default: that of the outer struct where it has its
    // own default for a struct that is part of it.
    let mut set: Map<String, Value> =
        object.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    for Parameter { name, default, .. } in list {
        if !default.is_null() {
            set.entry(name).or_insert(default);
        }
    }
    let parameters: P = serde_json::from_value(Value::Object(set))
        .map_err(|error| ParameterError::new("", "parameters that can be read", error.to_string()))?;
    parameters.check()?;
    Ok(parameters)
}

/// A method without parameters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, chiasm_parameters_derive::Parameters,
)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}
