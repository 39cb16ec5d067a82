//! Functions that the code of the derive macros calls. They are not part of the public interface.

use crate::{Choice, Kind, Parameter, ParameterError, ParameterType, Parameters, Range, kind::ChoiceValue};
use serde::Serialize;
use serde_json::Value;

/// The kind of a [`Choice`].
pub fn choice<C: Choice>() -> Kind {
    let word = |variant: &C| match serde_json::to_value(variant) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    };
    let value = |(variant, doc): &(C, &str)| ChoiceValue { name: word(variant), doc: (*doc).to_owned() };
    Kind::Choice { values: C::VARIANTS.iter().map(value).collect() }
}

/// The default of a parameter as JSON.
pub fn default_of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// The parameters of a struct that is part of another, with these defaults.
pub fn flattened<P: Parameters>(defaults: &P) -> Vec<Parameter> {
    let mut list = P::list();
    let values = serde_json::to_value(defaults).unwrap_or(Value::Null);
    for parameter in &mut list {
        parameter.default = values.get(&parameter.name).cloned().unwrap_or(Value::Null);
    }
    list
}

/// Checks that every number of a value is finite and in the range.
///
/// # Errors
/// The first number that is not.
pub fn check_numbers<T: ParameterType>(
    name: &str,
    value: &T,
    range: Option<Range>,
) -> Result<(), ParameterError> {
    let mut wrong = None;
    value.each_number(&mut |number| {
        if !range.unwrap_or_default().contains(number) {
            wrong.get_or_insert(number);
        }
    });
    match wrong {
        None => Ok(()),
        Some(number) => {
            let expected = T::kind().in_range(Some(&range.unwrap_or_default()));
            Err(ParameterError::new(name, expected, number.to_string()))
        }
    }
}
