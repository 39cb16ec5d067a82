//! The table of keys against the reader and the defaults of the code.

use super::*;
use crate::recipe::{BankSettings, Recipe, reader::keys_read};
use chiasm_check::CheckSettings;
use std::collections::BTreeSet;

/// Recipes that together have every table.
const WHOLE: [&str; 2] = [
    "[encoders.image]\nmodel = 'a'\n[encoders.text]\nvectors = 'b.npy'\n[data]\npairs = 'p.jsonl'\n\
     [data.corruption.text]\nkind = 'dropout'\nstrength = 0.1\n[align]\nplugin = 'cca'\n\
     [fuse]\nplugin = 'concat'\n[task]\nkind = 'classification'\ncolumn = 'c'\n[score.bank]\ntop = 3\n\
     [eval]\nrelevant = 'row'\n[checks]\nrank = { warn = 1.0 }\n[robustness]\ncorruption = [0.5]\n\
     baselines = [{ plugin = 'mlp' }]\n[robustness.corrupt.text]\nkind = 'dropout'\nstrength = 0.1\n",
    "[encoders.image]\nmodel = 'a'\n[encoders.text]\nmodel = 'b'\n[data]\n[align]\nplugin = 'cca'\n\
     [task]\nkind = 'retrieval'\nmodality = 'text'\n",
];

#[test]
fn the_table_has_exactly_the_keys_that_are_read() {
    let mut read = BTreeSet::new();
    for text in WHOLE {
        keys_read(|| Recipe::parse("recipe.toml", text.to_owned(), "".into(), &[]).unwrap(), &mut read);
    }
    let mut found = BTreeSet::new();
    for name in &read {
        let known: Vec<String> = RECIPE_KEYS.iter().filter(|key| key.is(name)).map(RecipeKey::name).collect();
        assert!(!known.is_empty(), "{name} is read, and RECIPE_KEYS does not have it");
        found.extend(known);
    }
    let table: BTreeSet<String> = RECIPE_KEYS.iter().map(RecipeKey::name).collect();
    assert_eq!(table.len(), RECIPE_KEYS.len(), "a key stands twice in RECIPE_KEYS");
    let unread: Vec<_> = table.difference(&found).collect();
    assert!(unread.is_empty(), "RECIPE_KEYS has keys that no recipe reads: {unread:?}");
}

#[test]
fn the_defaults_are_those_of_the_code() {
    let default = |name: &str| RECIPE_KEYS.iter().find(|key| key.is(name)).unwrap().default.to_owned();
    let (bank, checks) = (BankSettings::default(), CheckSettings::default());
    assert_eq!(default("score.bank.top"), bank.top.to_string());
    assert_eq!(default("score.bank.weight"), bank.weight.to_string());
    assert!(default("checks.points").starts_with(&format!("{}, fewer", checks.points_of(384, 384))));
    assert_eq!(default("checks.neighbours"), checks.neighbours.to_string());
    assert_eq!(default("checks.rank_tolerance"), checks.rank_tolerance.to_string());
    assert_eq!(default("checks.allow_unknown"), checks.allow_unknown.to_string());
    let text = WHOLE[1].to_owned();
    let recipe = Recipe::parse("recipe.toml", text, "".into(), &[]).unwrap();
    assert_eq!(default("seed"), recipe.seed.to_string());
    assert_eq!(default("encoders.text.items"), format!("{:?}", recipe.encoders[1].items.value.as_str()));
}

#[test]
fn every_example_is_valid_where_it_stands() {
    // Each example is added to a recipe that has the table, without the key.
    for key in RECIPE_KEYS.iter().filter(|key| !key.example.starts_with('[')) {
        let (name, value) = key.example.split_once(" = ").unwrap();
        assert!(key.key == name || key.key == "CHECK", "{}: {}", key.name(), key.example);
        assert!(toml::from_str::<toml::Table>(key.example).is_ok(), "{}: {value}", key.name());
    }
}
