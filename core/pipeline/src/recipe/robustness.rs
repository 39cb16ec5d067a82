//! `[data.corruption]`: corruption of training items. `[robustness]`: the sweeps over corrupted and missing
//! test items.
//!
//! ```toml
//! [data.corruption.text]              # training items of the modality `text`
//! kind = "dropout"
//! strength = 0.2
//! probability = 0.5                   # of each item; default 1
//! keep_clean = true                   # add the corrupted item instead of replacing the clean one
//!
//! [robustness]
//! corruption = [0.2, 0.5]             # shares of the test items that are corrupted
//! missing = [0.2, 0.5]                # shares of the test rows that lack a modality, for each modality
//! baselines = ["cca", { name = "infonce", plugin = "mlp", blend = 1.0 }]
//! [robustness.corrupt.text]
//! kind = "synonyms"
//! strength = 1.0
//! synonyms = "synonyms.json"          # { "circle": ["disc", "ring"] }
//! ```

use super::{
    plugin::{PluginRecipe, read_plugin},
    reader::{Located, TableReader},
    tree::{TomlNode, TomlValue},
};
use crate::base::problem::{Problem, Problems, SourceSpan};
use std::cell::RefCell;

const CODE: &str = "chiasm::recipe::robustness";

/// How the items of a modality are corrupted.
#[derive(Debug, Clone)]
pub struct CorruptionRecipe {
    /// The modality.
    pub modality: Located<String>,
    /// The kind, one of those of the modality's adapter.
    pub kind: Located<String>,
    /// The strength, in the unit of the kind.
    pub strength: f64,
    /// A JSON file with the synonyms of words.
    pub synonyms: Option<Located<String>>,
}

/// Corruption of training items: a table of `[data.corruption]`.
#[derive(Debug, Clone)]
pub struct TrainingCorruptionRecipe {
    /// How items are corrupted.
    pub corruption: CorruptionRecipe,
    /// The probability of each item to be corrupted.
    pub probability: f64,
    /// Whether the clean item remains beside the corrupted one.
    pub keep_clean: bool,
}

/// The table `[robustness]`.
#[derive(Debug, Clone, Default)]
pub struct RobustnessRecipe {
    /// Shares of the test items that are corrupted.
    pub corruption: Vec<f64>,
    /// Shares of the test rows that lack a modality.
    pub missing: Vec<f64>,
    /// How the test items of each modality are corrupted.
    pub corrupt: Vec<CorruptionRecipe>,
    /// Aligners to compare with: a name and the plugin.
    pub baselines: Vec<(String, PluginRecipe)>,
}

/// Reads the tables of `[data.corruption]`.
pub(super) fn read_training_corruption(
    data: &TableReader<'_>,
    names: &[&str],
    problems: &RefCell<Problems>,
) -> Vec<TrainingCorruptionRecipe> {
    let read = |table: TableReader<'_>, modality| {
        let probability = table.number("probability");
        if let Some(wrong) = probability.as_ref().filter(|one| !(0.0..=1.0).contains(&one.value)) {
            let message = format!("`probability` expects a number from 0 to 1, got {}", wrong.value);
            table.problem(Problem::new(CODE, message).at(&wrong.at, "this value"));
        }
        let keep_clean = table.boolean("keep_clean").is_some_and(|keep| keep.value);
        let corruption = read_corruption(table, modality)?;
        Some(TrainingCorruptionRecipe {
            corruption,
            probability: probability.map_or(1.0, |one| one.value),
            keep_clean,
        })
    };
    by_modality(data, "corruption", names, problems, &read)
}

/// Reads `[robustness]`. `system` is the id of the recipe's aligner.
pub(super) fn read_robustness(
    root: &TableReader<'_>,
    names: &[&str],
    system: &str,
    problems: &RefCell<Problems>,
) -> Option<RobustnessRecipe> {
    let table = root.table("robustness")?;
    let before = problems.borrow().count();
    let [corruption, missing] = ["corruption", "missing"].map(|key| read_shares(&table, key));
    let corrupt = by_modality(&table, "corrupt", names, problems, &read_corruption);
    let baselines = read_baselines(&table, system, problems);
    // What could not be read was given.
    let readable = problems.borrow().count() == before;
    if readable && corruption.is_empty() != corrupt.is_empty() {
        let message = "[robustness] needs both `corruption`, the shares of corrupted test items, and tables \
                       [robustness.corrupt.MODALITY], or neither";
        table.problem(
            Problem::new(CODE, message)
                .at(table.origin(), "this table")
                .help("for example [robustness.corrupt.image] with kind = \"noise\", strength = 0.1"),
        );
    }
    if corruption.is_empty() && missing.is_empty() {
        let problem = Problem::new(CODE, "[robustness] has neither `corruption` nor `missing`");
        table.problem(problem.at(table.origin(), "this table").help("add missing = [0.2, 0.4, 0.6, 0.8]"));
    }
    table.finish();
    Some(RobustnessRecipe { corruption, missing, corrupt, baselines })
}

/// Reads a list of shares from 0 to 1, in ascending order.
fn read_shares(table: &TableReader<'_>, key: &'static str) -> Vec<f64> {
    let shares = table.numbers(key);
    let wrong = |at: &usize| {
        let ascends = *at == 0 || shares[at - 1].value < shares[*at].value;
        !(ascends && (0.0..=1.0).contains(&shares[*at].value))
    };
    if let Some(at) = (0..shares.len()).find(wrong) {
        let message = format!("`robustness.{key}` expects ascending shares from 0 to 1");
        table.problem(Problem::new(CODE, message).at(&shares[at].at, "this value"));
    }
    shares.into_iter().map(|share| share.value).collect()
}

/// Reads a table whose keys are modalities.
fn by_modality<T>(
    table: &TableReader<'_>,
    key: &'static str,
    names: &[&str],
    problems: &RefCell<Problems>,
    read: &dyn Fn(TableReader<'_>, Located<String>) -> Option<T>,
) -> Vec<T> {
    let Some(tables) = table.table(key) else { return Vec::new() };
    let mut all = Vec::new();
    for (name, node) in tables.rest() {
        let path = format!("{}.{name}", tables.path());
        let TomlValue::Table(own) = &node.value else {
            let problem = Problem::new(CODE, format!("`{path}` expects a table with `kind` and `strength`"));
            tables.problem(problem.at(&node.at, "this value"));
            continue;
        };
        if !names.contains(&name) {
            let message =
                format!("`{path}`: expected one of the modalities {}, got {name:?}", names.join(", "));
            let problem = Problem::new(CODE, message).at(&node.key_at, "this modality");
            tables.problem(problem.suggest(name, names.iter().copied()));
            continue;
        }
        let reader = TableReader::new(&path, own, &node.key_at, problems);
        let modality = Located { value: name.to_owned(), at: node.key_at.clone() };
        all.extend(read(reader, modality));
    }
    all
}

fn read_corruption(table: TableReader<'_>, modality: Located<String>) -> Option<CorruptionRecipe> {
    let kind = table.required_string("kind", "kind = \"noise\"");
    let strength = table.number("strength");
    if strength.is_none() && table.node("strength").is_none() {
        let message = format!("`{}` has no `strength`", table.path());
        let problem = Problem::new("chiasm::recipe::missing_key", message).at(table.origin(), "this table");
        table.problem(problem.help("add, for example, strength = 0.2"));
    }
    let synonyms = table.string("synonyms");
    table.finish();
    Some(CorruptionRecipe { modality, kind: kind?, strength: strength?.value, synonyms })
}

/// Reads a list of plugins: ids, or tables with `plugin`, optionally `name`, and parameters.
fn read_baselines(
    table: &TableReader<'_>,
    system: &str,
    problems: &RefCell<Problems>,
) -> Vec<(String, PluginRecipe)> {
    let Some(node) = table.node("baselines") else { return Vec::new() };
    let wrong = |at: &SourceSpan, got: &TomlValue| {
        let message = format!(
            "`robustness.baselines` expects a list of aligners, such as [\"cca\", {{ plugin = \"mlp\", \
             steps = 500 }}], got {}",
            got.kind()
        );
        table.problem(Problem::new(CODE, message).at(at, "this value"));
    };
    let TomlValue::Array(items) = &node.value else {
        wrong(&node.at, &node.value);
        return Vec::new();
    };
    let mut all: Vec<(String, PluginRecipe)> = Vec::new();
    for item in items {
        let Some((name, plugin)) = read_baseline(item, problems, &wrong) else { continue };
        if name == system || all.iter().any(|(own, _)| *own == name) {
            let message =
                format!("`robustness.baselines`: the name {name:?} is used twice, or by the aligner");
            let problem = Problem::new(CODE, message).at(&item.at, "this baseline");
            table.problem(problem.help("give each a `name` of its own"));
        }
        all.push((name, plugin));
    }
    all
}

fn read_baseline(
    item: &TomlNode,
    problems: &RefCell<Problems>,
    wrong: &dyn Fn(&SourceSpan, &TomlValue),
) -> Option<(String, PluginRecipe)> {
    match &item.value {
        TomlValue::String(id) => {
            let id = Located { value: id.clone(), at: item.at.clone() };
            Some((id.value.clone(), PluginRecipe { id, parameters: Vec::new() }))
        }
        TomlValue::Table(own) => {
            let reader = TableReader::new("robustness.baselines", own, &item.at, problems);
            let name = reader.string("name");
            let plugin = read_plugin(&reader, "plugin = \"mlp\"")?;
            Some((name.map_or_else(|| plugin.id.value.clone(), |name| name.value), plugin))
        }
        other => {
            wrong(&item.at, other);
            None
        }
    }
}
