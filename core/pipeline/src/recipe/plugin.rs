//! A plugin of a recipe: its id and its parameters.

use super::{
    reader::{Located, TableReader},
    tree::TomlNode,
};

/// The id of a plugin and its parameters.
#[derive(Debug, Clone)]
pub struct PluginRecipe {
    /// The id, e.g. `cca`.
    pub id: Located<String>,
    /// The parameters, as written.
    pub parameters: Vec<(String, TomlNode)>,
}

impl PluginRecipe {
    /// Returns the parameters as a JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Object(
            self.parameters.iter().map(|(k, n)| (k.clone(), n.value.to_json())).collect(),
        )
    }
}

/// Reads the plugin's id. All keys that were not read before are its parameters; the plan checks them.
pub(super) fn read_plugin(table: &TableReader<'_>, example: &str) -> Option<PluginRecipe> {
    let id = table.required_string("plugin", example)?;
    let parameters = table.rest().into_iter().map(|(k, n)| (k.to_owned(), n.clone())).collect();
    Some(PluginRecipe { id, parameters })
}
