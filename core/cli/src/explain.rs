//! `chiasm explain`: what a key of a recipe, a parameter of a plugin, a check or a measure means. The page
//! `core/REFERENCE.md` is made from the same text.

mod entries;
mod page;

use crate::{
    args::GlobalOptions,
    command_result::{CommandResult, json},
    plugin_host::host,
    print,
    transport::REPORTED,
};
use chiasm_geometry::catalogue::CATALOGUE;
use chiasm_pipeline::{CARD_KEYS, Error, RECIPE_KEYS, did_you_mean};
pub use entries::{Explanation, is_measure, of_measure};
use entries::{of_card, of_check, of_plugins, of_recipe, of_transport};

/// The topics that have a list of names.
const TOPICS: [(&str, &str); 7] = [
    ("recipe", "every key of a recipe"),
    ("card", "every key of a model card; those of its adapter are in `plugins`"),
    ("plugins", "every aligner, fusion and adapter, with its parameters"),
    ("checks", "every check of a map: formula, source, sample and accuracy"),
    ("measures", "every measure of two clouds of vectors"),
    ("transport", "every value that `chiasm transport` reports"),
    ("page", "all of it as one page of Markdown"),
];

/// Runs `chiasm explain`.
///
/// # Errors
/// If nothing has the name.
pub fn explain(name: Option<&str>, global: &GlobalOptions) -> CommandResult {
    let found = match name {
        None => return topics(global),
        Some("page") => {
            print::line(page::page(&host(global)?)?.trim_end());
            return Ok(());
        }
        Some("checks") if !json(global) => {
            print::line(chiasm_check::page().trim_end());
            return Ok(());
        }
        Some("card") => CARD_KEYS.iter().map(of_card).collect(),
        Some("recipe") => RECIPE_KEYS.iter().map(of_recipe).collect(),
        Some("checks") => chiasm_check::CHECKS.iter().filter_map(|check| of_check(check.name)).collect(),
        Some("measures") => CATALOGUE.iter().map(of_measure).collect(),
        Some("transport") => REPORTED.iter().map(of_transport).collect(),
        Some("plugins") => of_plugins(&host(global)?, &|_| true)?,
        Some(name) => named(name, global)?,
    };
    if json(global) {
        print::json(&found);
        return Ok(());
    }
    if found.len() > 3 {
        let row = |one: Explanation| vec![one.name, one.takes, one.default, one.about];
        print::wrapped_table(
            &["name", "takes", "default", "what it does"],
            found.into_iter().map(row).collect(),
        );
        return Ok(());
    }
    for (at, one) in found.iter().enumerate() {
        if at > 0 {
            print::line("");
        }
        show(one);
    }
    Ok(())
}

fn topics(global: &GlobalOptions) -> CommandResult {
    if json(global) {
        print::json(&TOPICS.iter().map(|(name, _)| name).collect::<Vec<_>>());
        return Ok(());
    }
    let rows = TOPICS.iter().map(|(name, about)| vec![format!("chiasm explain {name}"), (*about).to_owned()]);
    print::table(&["command", "what it explains"], rows.collect(), 2);
    print::line(
        "Or give one name: a key (align.anchor), a plugin (cca), a check (rank), a measure (cka_linear).",
    );
    Ok(())
}

fn show(one: &Explanation) {
    print::line(&format!("{} ({})", one.name, one.topic));
    for (what, text) in [("takes", &one.takes), ("default", &one.default), ("example", &one.example)] {
        if !text.is_empty() {
            print::line(&format!("  {what:<8} {text}"));
        }
    }
    print::line(one.about.trim_end());
}

/// Returns everything that has this name: the exact one, else the keys that end with it.
fn named(name: &str, global: &GlobalOptions) -> CommandResult<Vec<Explanation>> {
    let exact = RECIPE_KEYS.iter().find(|key| key.name() == name);
    let pattern = exact.or_else(|| RECIPE_KEYS.iter().find(|key| key.is(name)));
    let mut found: Vec<Explanation> = pattern.into_iter().map(of_recipe).collect();
    if found.is_empty() {
        found.extend(RECIPE_KEYS.iter().filter(|key| key.key == name).map(of_recipe));
    }
    found.extend(CARD_KEYS.iter().filter(|key| key.name == name).map(of_card));
    found.extend(of_check(name));
    found.extend(REPORTED.iter().filter(|(key, _)| *key == name).map(of_transport));
    found.extend(CATALOGUE.iter().filter(|measure| is_measure(measure, name)).map(of_measure));
    // A plugin that cannot be loaded does not keep other names from being explained.
    let host = host(global)?;
    let plugins = of_plugins(&host, &|id| name.split('.').next() == Some(id))?;
    let id = |one: &Explanation| {
        let inside = one.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let key = name.contains('.') && one.name.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        one.name == name || inside || key
    };
    found.extend(plugins.iter().filter(|one| id(one)).cloned());
    if !found.is_empty() {
        return Ok(found);
    }
    let known: Vec<String> = RECIPE_KEYS
        .iter()
        .flat_map(|key| [key.name(), key.key.to_owned()])
        .chain(CARD_KEYS.iter().map(|key| key.name.to_owned()))
        .chain(chiasm_check::CHECKS.iter().map(|check| check.name.to_owned()))
        .chain(CATALOGUE.iter().map(|measure| measure.name.trim_end_matches('@').to_owned()))
        .chain(REPORTED.iter().map(|(key, _)| (*key).to_owned()))
        .chain(["adapter", "aligner", "fusion"].iter().flat_map(|kind| host.ids(kind)).map(str::to_owned))
        .chain(plugins.into_iter().map(|one| one.name))
        .collect();
    let help = did_you_mean(name, known.iter().map(String::as_str));
    let message = format!("no key, plugin, check or measure is called {name:?}");
    let help = help.unwrap_or_else(|| "`chiasm explain` lists the topics".to_owned());
    Err(Error::input("chiasm::explain::name", message, help))
}
