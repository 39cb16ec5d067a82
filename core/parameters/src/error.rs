//! The error of a parameter that is refused.

/// A parameter with a wrong name, type or value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}expected {expected}, got {got}", place(.parameter))]
pub struct ParameterError {
    /// The parameter's name, with the place inside its value where there is one, such as `settings[2].ridge`;
    /// empty when the parameters as a whole are wrong.
    pub parameter: String,
    /// What was expected.
    pub expected: String,
    /// What was given.
    pub got: String,
}

fn place(parameter: &str) -> String {
    if parameter.is_empty() { "parameters: ".to_owned() } else { format!("parameter `{parameter}`: ") }
}

impl ParameterError {
    /// Creates an error of this parameter.
    pub fn new(parameter: &str, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { parameter: parameter.to_owned(), expected: expected.into(), got: got.into() }
    }

    /// Creates the error of an unknown key. The message lists the known parameters, the most similar one
    /// first.
    pub(crate) fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let mut known: Vec<&str> = known.collect();
        known.sort_by_key(|name| strsim::damerau_levenshtein(name, key));
        let expected = match known.as_slice() {
            [] => "no parameters".to_owned(),
            [one] => format!("`{one}`"),
            many => many.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        Self::new(key, expected, "an unknown key")
    }
}
