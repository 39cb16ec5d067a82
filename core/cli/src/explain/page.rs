//! The reference page.

use super::entries::{Explanation, of_card, of_measure, of_plugins, of_recipe};
use crate::command_result::CommandResult;
use chiasm_geometry::catalogue::CATALOGUE;
use chiasm_host::Host;
use chiasm_pipeline::{CARD_KEYS, RECIPE_KEYS, wrapped};

const HEAD: &str = "# Reference

Every key of a recipe, every plugin with its parameters, and every measure. `chiasm explain page` writes this
page from the tables that the program itself reads; `chiasm explain NAME` shows one entry. The checks are in
[check/README.md](check/README.md), transport in [transport/README.md](transport/README.md).
";

/// Returns the page as Markdown.
pub fn page(host: &Host) -> CommandResult<String> {
    let recipes = table(
        &["key", "takes", "default", "what it does", "example"],
        RECIPE_KEYS.iter().map(|key| {
            let one = of_recipe(key);
            [code(&one.name), one.takes, one.default, one.about, code(&one.example)]
        }),
    );
    let cards = table(
        &["key", "takes", "default", "what it does"],
        CARD_KEYS.iter().map(|key| {
            let one = of_card(key);
            [code(&one.name), one.takes, one.default, one.about]
        }),
    );
    let measures = table(
        &["measure", "of", "what it is"],
        CATALOGUE.iter().map(|measure| {
            let one = of_measure(measure);
            [code(&one.name), one.takes, one.about]
        }),
    );
    let of_recipes = "A word in capitals stands for a name, such as `MODALITY` for `image`. Paths are \
                      relative to the recipe. `--set KEY=VALUE` of `fit`, `plan` and `compare` sets any key.";
    let of_cards = "`models/NAME/card.toml`; `chiasm model add` writes it. The other keys of `[ports]` and \
                    `[preprocessing]` are those of the adapter, below.";
    let of_plugins = "The parameters of an aligner or a fusion stand in `[align]` or `[fuse]` of a recipe, \
                      and the keys of an adapter in the card of a model.";
    let of_measures = "Of `chiasm measure` and `chiasm eval --geometry`. Larger clouds are sampled.";
    let mut text = HEAD.to_owned();
    for (title, about, content) in [
        ("Recipes", of_recipes, recipes),
        ("Model cards", of_cards, cards),
        ("Plugins", of_plugins, plugins(host)?),
        ("Measures", of_measures, measures),
    ] {
        text.push_str(&format!("\n## {title}\n\n{}\n{content}", paragraph(about)));
    }
    Ok(text)
}

/// Returns the components of all plugins, each with the table of its parameters or keys.
fn plugins(host: &Host) -> CommandResult<String> {
    let mut text = String::new();
    let plugins = of_plugins(host, &|_| true)?;
    let is_component = |one: &Explanation| !one.topic.contains(" of the ");
    for (at, component) in plugins.iter().enumerate().filter(|(_, one)| is_component(one)) {
        let about = paragraph(&component.about);
        text.push_str(&format!("\n### `{}` ({})\n\n{about}\n", component.name, component.topic));
        let own: Vec<_> = plugins[at + 1..].iter().take_while(|one| !is_component(one)).collect();
        if own.is_empty() {
            continue;
        }
        let start = component.name.len() + 1;
        let rows = own.into_iter().map(|one| {
            let parameter = one.topic.starts_with("parameter");
            let default = if parameter { code(&one.default) } else { one.default.clone() };
            [code(&one.name[start..]), one.takes.clone(), default, one.about.clone()]
        });
        text.push_str(&table(&["name", "takes", "default", "what it does"], rows));
    }
    Ok(text)
}

/// Breaks a paragraph into lines.
fn paragraph(text: &str) -> String {
    wrapped(text, 105).join("\n")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Returns a table of Markdown.
fn table<const N: usize>(header: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().map(|cell| cell.replace('\n', " ").replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let head = header.map(ToOwned::to_owned);
    let rule = "|---".repeat(N);
    rows.fold(format!("\n{}{rule}|\n", line(&head)), |text, row| text + &line(&row))
}
