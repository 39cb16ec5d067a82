//! The keys of a card and of its adapter, and cards as text that a user wrote.

use super::card::{CARD_KEYS, ModelCard};
use crate::{
    base::{
        problem::{Problem, Problems, SourceSpan, did_you_mean},
        relative_path::check_name,
        visible::{visible, visible_same_length},
    },
    recipe::tree::{self, TomlTable, TomlValue},
};
use chiasm_host::Host;
use miette::NamedSource;
use std::{path::Path, sync::Arc};

/// The tables of a card whose keys its adapter defines.
const OF_ADAPTER: [&str; 2] = ["ports", "preprocessing"];
const CODE: &str = "chiasm::model::card";

/// Reads the text of a card, and checks every key.
///
/// # Errors
/// If it is not valid TOML, has a key that neither a card nor its adapter has, lacks one, or a value has the
/// wrong type. The problems show the places.
pub(super) fn parsed(path: &Path, text: &str, host: &Host) -> Result<ModelCard, Problems> {
    let (table, _) = tree::parse("card.toml", text)?;
    check_keys(&table, host)?;
    let bad = |what: String| Problem::new(CODE, format!("{} is not a valid card: {what}", path.display()));
    let card: ModelCard = toml::from_str(text).map_err(|error| {
        let source = Arc::new(NamedSource::new(visible("card.toml"), visible_same_length(text)));
        let span = error.span().unwrap_or(0..0);
        bad(error.message().to_owned()).at(&SourceSpan::new(&source, span), "here")
    })?;
    check_name(&card.name).map_err(|what| bad(format!("`name`: {what}")))?;
    Ok(card)
}

/// Checks that a card and its adapter have these keys. The keys of an adapter that lists none are not
/// checked.
///
/// # Errors
/// One problem for each other key, with the key that may be meant.
pub(super) fn check_keys(table: &TomlTable, host: &Host) -> Result<(), Problems> {
    let adapter = table.iter().find_map(|(key, node)| match &node.value {
        TomlValue::String(id) if key == "adapter" => Some((id.as_str(), node)),
        _ => None,
    });
    let mut problems = Problems::default();
    if let Some((id, node)) = adapter {
        let known = host.ids("adapter");
        if !known.contains(&id) {
            let help = did_you_mean(id, known.iter().copied());
            let help = help.unwrap_or_else(|| format!("adapters: {}", known.join(", ")));
            let problem = Problem::new(CODE, format!("there is no adapter called {id:?}"));
            problems.push(problem.at(&node.at, "no adapter").help(help));
        }
    }
    let of_adapter = adapter.map(|(id, _)| adapter_keys(id, host)).unwrap_or_default();
    let own: Vec<&str> = CARD_KEYS.iter().map(|key| key.name).collect();
    let mut check = |known: Vec<&str>, prefix: &str, table: &TomlTable| {
        let inside = |name: &str| !name.is_empty() && !name.contains('.');
        let known: Vec<&str> = known
            .into_iter()
            .filter_map(|name| name.strip_prefix(prefix))
            .filter(|name| inside(name))
            .collect();
        for (key, node) in table.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            let help = did_you_mean(key, known.iter().copied());
            let help = help.unwrap_or_else(|| format!("known keys: {}", known.join(", ")));
            let problem = Problem::new(CODE, format!("a card has no key `{prefix}{key}`"));
            problems.push(problem.at(&node.key_at, "unknown key").help(help));
        }
    };
    check(own.clone(), "", table);
    for name in OF_ADAPTER.iter().filter(|_| !of_adapter.is_empty()) {
        let inner = table.iter().find_map(|(key, node)| match &node.value {
            TomlValue::Table(inner) if key == name => Some(inner),
            _ => None,
        });
        let known = own.iter().copied().chain(of_adapter.iter().map(String::as_str)).collect();
        if let Some(inner) = inner {
            check(known, &format!("{name}."), inner);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Returns the keys of `[ports]` and `[preprocessing]` that an adapter lists.
fn adapter_keys(id: &str, host: &Host) -> Vec<String> {
    let offers = host.plugins().iter().flat_map(|plugin| &plugin.provides);
    let component = offers
        .filter(|one| one.shadowed_by.is_none() && one.component.kind == "adapter")
        .find(|one| one.component.id == id);
    let keys = component.map(|one| one.component.keys.as_slice()).unwrap_or_default();
    keys.iter().map(|key| key.name.clone()).collect()
}
