//! What is known of the preparation of an encoder's items.

use crate::run::model_card::{facts::EncoderFacts, text::quoted};

/// How the items of one encoder are prepared.
pub struct Preparation {
    /// In words, whole sentences.
    pub words: String,
    /// As Python, or why it cannot be written.
    pub python: Result<PythonPreparation, String>,
}

/// Python that prepares the items of one encoder.
pub struct PythonPreparation {
    /// The lines that import what it needs.
    pub imports: Vec<&'static str>,
    /// The body of a function of `item`, which returns the model's inputs by name.
    pub body: Vec<String>,
    /// What an item is.
    pub item: &'static str,
    /// An item for the example, as Python.
    pub example: String,
}

/// Returns the Python name of an input in the model, as a literal.
pub fn input(encoder: &EncoderFacts<'_>, own: &str) -> String {
    quoted(encoder.inputs.get(own).map_or(own, String::as_str))
}

/// Returns a preparation that cannot be written, because the table has keys or values that are not known.
pub fn not_known(encoder: &EncoderFacts<'_>, error: &serde_json::Error) -> Preparation {
    Preparation {
        words: format!("The adapter `{}` of Chiasm prepares the items, as the table says.", encoder.adapter),
        python: Err(format!("its table has {}", error.to_string().replace('`', "'"))),
    }
}
