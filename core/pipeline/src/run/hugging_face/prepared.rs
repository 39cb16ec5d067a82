//! What is written of a modality, and helpers to write it.

use crate::run::port_form::PortForm;
use serde_json::Value;

/// How the items of a modality are prepared by Hugging Face's classes.
pub struct Prepared {
    /// The ports of the model.
    pub ports: Vec<PortForm>,
    /// The files in the folder of the modality.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// The class of `transformers` that opens them.
    pub class: &'static str,
    /// The lines that make `features` of `item`, in Python and JavaScript.
    pub python: Vec<String>,
    /// Empty if transformers.js prepares them in another way.
    pub javascript: Vec<String>,
    /// What else a reader of the model card must know of the Python.
    pub note: Option<&'static str>,
    /// An item of the example.
    pub example: &'static str,
}

/// Returns indented JSON.
pub fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
