//! Why parameters were refused.

/// A parameter that is not as it must be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}expected {expected}, got {got}", place(.parameter))]
pub struct ParameterError {
    /// The parameter's name, with the place inside its value where there is one, such as `settings[2].ridge`;
    /// empty when the parameters as a whole are wrong.
    pub parameter: String,
    /// What would be right.
    pub expected: String,
    /// What was given.
    pub got: String,
}

fn place(parameter: &str) -> String {
    if parameter.is_empty() { "parameters: ".to_owned() } else { format!("parameter `{parameter}`: ") }
}

impl ParameterError {
    /// A parameter of this name that is not as expected.
    pub fn new(parameter: &str, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { parameter: parameter.to_owned(), expected: expected.into(), got: got.into() }
    }

    /// A key that is no parameter; the message names those that there are, the most similar one first.
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
