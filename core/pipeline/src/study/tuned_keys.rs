//! The keys that a tuning changes, as the aligners declare them.

use super::{
    fits::{RecipeChanges, declared},
    space::{SearchSpace, Setting, assignments},
};
use crate::{
    base::{environment::Environment, error::Error, problem::Problem},
    plan::Plan,
    recipe::{ALIGN_KEYS, Recipe},
};
use chiasm_host::{Parameter, ParameterKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The key that chooses the aligner.
const ALIGNER: &str = "align.plugin";

/// The keys that are tuned, and the aligners that they may choose.
pub struct TunedKeys {
    /// The keys and their values.
    pub space: SearchSpace,
    /// The parameters of every aligner that a trial may use.
    pub aligners: BTreeMap<String, Vec<Parameter>>,
    /// The recipe's own aligner.
    own: String,
}

impl TunedKeys {
    /// Parses the keys.
    ///
    /// # Errors
    /// If a key or its values are not valid, or an aligner is missing.
    pub fn new(over: &[String], plan: &Plan, env: &Environment) -> Result<Self, Error> {
        let own = plan.recipe.align.plugin.id.value.clone();
        let chosen =
            over.iter().flat_map(|all| all.split(',')).filter_map(|one| one.trim().strip_prefix(ALIGNER));
        let chosen = chosen.filter_map(|rest| rest.trim_start().strip_prefix('='));
        let ids: BTreeSet<String> = chosen
            .flat_map(|ids| ids.split('|'))
            .map(|id| id.trim().to_owned())
            .chain([own.clone()])
            .collect();
        let mut aligners = BTreeMap::new();
        for id in ids {
            let parameters = env.host.aligner(&id)?.parameters()?;
            aligners.insert(id, parameters);
        }
        let find = |key: &str| {
            let path = key.strip_prefix("align.")?;
            aligners.values().find_map(|parameters| declared(path, parameters))
        };
        let is_integer = |key: &str| match find(key) {
            Some(parameter) => match &parameter.kind {
                ParameterKind::PerModality { of } => **of == ParameterKind::Integer,
                kind => *kind == ParameterKind::Integer,
            },
            None => ["seed", "score.bank.top"].contains(&key),
        };
        let space = SearchSpace::parse(over, &is_integer)?;
        let is_own = |key: &str| key.strip_prefix("align.").is_some_and(|name| ALIGN_KEYS.contains(&name));
        for key in space.keys().filter(|key| key.starts_with("align.")) {
            if !is_own(key) && find(key).is_none() {
                let names: Vec<&str> = aligners.keys().map(String::as_str).collect();
                let message = format!("`{key}` is not a parameter of {}", names.join(" or "));
                let help = "`chiasm plugin why ID` finds a plugin; its documentation lists the parameters";
                return Err(Problem::new("chiasm::study::key", message).help(help).into());
            }
        }
        Ok(Self { space, aligners, own })
    }

    /// Returns the changes that make a setting.
    pub fn changes(&self, setting: &Setting) -> RecipeChanges {
        let assignments = assignments(setting);
        let only_known = !assignments.is_empty() && !self.space.choices(ALIGNER).is_empty();
        RecipeChanges { assignments, only_known, without_terms: false }
    }

    /// Returns a setting without the keys that its aligner does not have.
    pub fn effective(&self, setting: &Setting) -> Setting {
        let id = setting.get(ALIGNER).and_then(Value::as_str).unwrap_or(&self.own);
        let parameters = self.aligners.get(id).map_or(&[][..], Vec::as_slice);
        let has = |key: &String| match key.strip_prefix("align.") {
            Some(path) => ALIGN_KEYS.contains(&path) || declared(path, parameters).is_some(),
            None => true,
        };
        setting.iter().filter(|(key, _)| has(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Returns the recipe's own values of the keys, or the defaults of its aligner, as far as they are known.
    pub fn own_setting(&self, recipe: &Recipe) -> Setting {
        let written = recipe.align.plugin.to_json();
        let parameters = self.aligners.get(&self.own).map_or(&[][..], Vec::as_slice);
        let value = |key: &str| match key {
            ALIGNER => Some(json!(self.own)),
            "seed" => Some(json!(recipe.seed)),
            "score.bank.top" => recipe.score.bank.map(|bank| json!(bank.top)),
            "score.bank.weight" => recipe.score.bank.map(|bank| json!(bank.weight)),
            _ => {
                let path = key.strip_prefix("align.")?;
                let pointer = format!("/{}", path.replace('.', "/"));
                let default = || declared(path, parameters).map(|parameter| parameter.default.clone());
                written.pointer(&pointer).cloned().or_else(default)
            }
        };
        self.space.keys().filter_map(|key| Some((key.to_owned(), value(key)?))).collect()
    }
}
