//! The entries of `chiasm explain`: keys of recipes, checks, measures, and plugins with their parameters.

use crate::command_result::CommandResult;
use chiasm_geometry::catalogue::Measure;
use chiasm_host::{CardKey, Host};
use chiasm_pipeline::RecipeKey;
use serde::Serialize;

/// What is known about a name.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Where it belongs: recipe, aligner, fusion, adapter, check or measure.
    pub topic: String,
    /// Its whole name, such as `align.anchor` or `cca.ridge`.
    pub name: String,
    /// The values it takes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub takes: String,
    /// What holds without it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub default: String,
    /// What it is or does.
    pub about: String,
    /// An example.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub example: String,
}

/// Returns the entry of a key.
pub fn of_recipe(key: &RecipeKey) -> Explanation {
    Explanation {
        topic: "recipe".to_owned(),
        name: key.name(),
        takes: key.takes.to_owned(),
        default: key.default.to_owned(),
        about: key.about.to_owned(),
        example: key.example.to_owned(),
    }
}

/// Returns the entry of a key of a card.
pub fn of_card(key: &CardKey) -> Explanation {
    Explanation {
        topic: "card".to_owned(),
        name: key.name.to_owned(),
        takes: key.takes.to_owned(),
        default: key.default.to_owned(),
        about: key.about.to_owned(),
        example: String::new(),
    }
}

/// Returns the entry of a check.
pub fn of_check(name: &str) -> Option<Explanation> {
    let about = chiasm_check::explain(name)?;
    let (takes, default, example) = Default::default();
    Some(Explanation { topic: "check".to_owned(), name: name.to_owned(), takes, default, about, example })
}

/// Returns whether a measure has this name, with or without its number of neighbours.
pub fn is_measure(measure: &Measure, name: &str) -> bool {
    let bare = measure.name.trim_end_matches('@');
    name == bare || measure.name.ends_with('@') && name.split_once('@').is_some_and(|(own, _)| own == bare)
}

/// Returns the entry of a measure.
pub fn of_measure(measure: &Measure) -> Explanation {
    let rows = if measure.paired { "paired rows" } else { "rows, paired or not" };
    let width = if measure.common { " of one width" } else { "" };
    let unit = if measure.unit.is_empty() { String::new() } else { format!(", in {}", measure.unit) };
    Explanation {
        topic: "measure".to_owned(),
        name: measure.name.to_owned(),
        takes: format!("two clouds with {rows}{width}; rows used: {}", measure.sample()),
        default: String::new(),
        about: format!("{}{unit}", measure.about()),
        example: format!("chiasm measure a.npy b.npy --only {}", measure.name.trim_end_matches('@')),
    }
}

/// Returns the entry of a value that `chiasm transport` reports.
pub fn of_transport((name, about): &(&str, &str)) -> Explanation {
    let (takes, default) = Default::default();
    let (topic, example) = ("transport".to_owned(), "chiasm transport x.npy y.npy --format json".to_owned());
    Explanation { topic, name: (*name).to_owned(), takes, default, about: (*about).to_owned(), example }
}

/// Returns the aligners, fusions and adapters whose ids are `wanted`, with their parameters and keys.
/// Only the plugins of these aligners and fusions are loaded; the keys of adapters are in the manifests.
pub fn of_plugins(host: &Host, wanted: &dyn Fn(&str) -> bool) -> CommandResult<Vec<Explanation>> {
    let mut all = Vec::new();
    for (kind, table) in [("aligner", "align"), ("fusion", "fuse"), ("adapter", "")] {
        let mut ids: Vec<&str> =
            host.ids(kind).into_iter().filter(|id| kind == "adapter" || wanted(id)).collect();
        ids.sort_unstable();
        for id in ids {
            let component = host.plugins().iter().flat_map(|plugin| &plugin.provides).find(|one| {
                one.shadowed_by.is_none() && one.component.kind == kind && one.component.id == id
            });
            let keys = component.map(|one| one.component.keys.as_slice()).unwrap_or_default();
            let parameters = match kind {
                "aligner" => host.aligner(id)?.parameters()?,
                "fusion" => host.fusion(id)?.parameters()?,
                _ => Vec::new(),
            };
            all.push(Explanation {
                topic: kind.to_owned(),
                name: id.to_owned(),
                takes: String::new(),
                default: String::new(),
                about: component.map(|one| one.component.doc.clone()).unwrap_or_default(),
                example: if table.is_empty() { String::new() } else { format!("{table}.plugin = \"{id}\"") },
            });
            all.extend(parameters.into_iter().map(|parameter| Explanation {
                topic: format!("parameter of the {kind} {id}"),
                name: format!("{id}.{}", parameter.name),
                takes: parameter.expected(),
                default: match parameter.default {
                    serde_json::Value::Null => "chosen by the method".to_owned(),
                    value => value.to_string(),
                },
                example: String::new(),
                about: parameter.doc,
            }));
            all.extend(keys.iter().map(|key| Explanation {
                topic: format!("key of the cards of the adapter {id}"),
                name: format!("{id}.{}", key.name),
                takes: key.takes.clone(),
                default: key.default.clone(),
                about: key.about.clone(),
                example: String::new(),
            }));
        }
    }
    Ok(all)
}
