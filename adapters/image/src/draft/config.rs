//! A `preprocessor_config.json`, the settings of a Hugging Face image processor.

use chiasm_kit::draft::ConfigFile;
use chiasm_plugin::Json;

use super::processors::{Processor, processor};

/// A `preprocessor_config.json` with the defaults of the class that it names.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessorConfig<'a> {
    pub(super) file: &'a ConfigFile,
    pub(super) processor: Option<&'static Processor>,
    class: Option<&'a str>,
}

impl<'a> ProcessorConfig<'a> {
    /// Finds the class that a file names.
    pub(super) fn of(file: &'a ConfigFile) -> Self {
        let classes = ["image_processor_type", "feature_extractor_type"];
        let class = classes.iter().find_map(|key| file.get(key)?.as_str());
        Self { file, processor: class.and_then(processor), class }
    }

    /// Returns a flag and its origin: its value in the file, else the default of the class, else `usual`.
    pub(super) fn flag(
        &self,
        key: &str,
        of_class: impl Fn(&Processor) -> bool,
        usual: bool,
    ) -> (bool, String) {
        match (self.file.get(key).and_then(Json::as_bool), self.processor) {
            (Some(flag), _) => (flag, format!("{} is {flag}", self.file.origin(key))),
            (None, Some(processor)) => (of_class(processor), self.default_of_class(key)),
            (None, None) => (usual, format!("{} does not state `{key}`", self.file.name)),
        }
    }

    /// Returns the origin of a value that is the default of the class.
    pub(super) fn default_of_class(&self, key: &str) -> String {
        format!("the default `{key}` of {}", self.class.unwrap_or_default())
    }

    /// Returns why a key has no known value.
    pub(super) fn unknown(&self, key: &str) -> String {
        let named = match self.class {
            Some(class) => format!("the defaults of {class} are not known"),
            None => "it names no class".to_owned(),
        };
        format!("{} does not state `{key}`, and {named}", self.file.name)
    }
}
