//! The modalities whose items are corrupted, with their encoders opened for that.

use super::modality::ModalityEncoders;
use crate::{
    base::{
        environment::Environment,
        error::Error,
        problem::{Problem, Problems},
    },
    recipe::{Recipe, robustness::CorruptionRecipe},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A modality whose items are corrupted.
pub struct CorruptedModality {
    /// The index of the modality.
    pub at: usize,
    /// The modality. Its encoders corrupt every item.
    pub encoders: ModalityEncoders,
    /// The table that its adapters were opened with.
    pub table: Value,
}

/// Corruption of training items.
pub struct TrainingCorruption {
    /// The modality.
    pub corrupted: CorruptedModality,
    /// The probability of each item to be corrupted.
    pub probability: f64,
    /// Whether the clean item remains beside the corrupted one.
    pub keep_clean: bool,
}

/// The corruption of training items and of test items.
#[derive(Default)]
pub struct CorruptionPlan {
    /// Corruption of training items.
    pub training: Vec<TrainingCorruption>,
    /// Corruption of test items, for a sweep.
    pub test: Vec<CorruptedModality>,
}

impl CorruptionPlan {
    /// Opens the encoders of every modality that a recipe corrupts.
    pub(super) fn open(
        recipe: &Recipe,
        modalities: &[ModalityEncoders],
        env: &Environment,
        problems: &mut Problems,
    ) -> Self {
        let mut plan = Self::default();
        for one in &recipe.data.corruption {
            let corrupted = open(recipe, &one.corruption, modalities, env);
            plan.training.extend(problems.keep(corrupted).flatten().map(|corrupted| TrainingCorruption {
                corrupted,
                probability: one.probability,
                keep_clean: one.keep_clean,
            }));
        }
        for one in recipe.robustness.iter().flat_map(|robustness| &robustness.corrupt) {
            plan.test.extend(problems.keep(open(recipe, one, modalities, env)).flatten());
        }
        plan
    }

    /// Checks that training rows may be held out and scored: the recipe does not corrupt them.
    ///
    /// # Errors
    /// If it does. `help` says what to do instead.
    pub fn check_held_out(&self, help: &str) -> Result<(), Error> {
        if self.training.is_empty() {
            return Ok(());
        }
        let message = "cross-validation tests on training rows, which [data.corruption] changes";
        Err(Error::input("chiasm::plan::held_out", message, help))
    }

    /// Returns everything that the corrupted items depend on, except the items and their encoders.
    pub fn content(&self) -> String {
        let training = self.training.iter().map(|one| {
            let TrainingCorruption { corrupted, probability, keep_clean } = one;
            format!("{} {} {probability} {keep_clean}", corrupted.at, corrupted.table)
        });
        let test = self.test.iter().map(|one| format!("{} {}", one.at, one.table));
        training.chain(test).collect::<Vec<_>>().join("\n")
    }
}

/// Opens the encoders of a modality again, so that they corrupt its items. Returns `None` if the modality
/// itself could not be opened.
fn open(
    recipe: &Recipe,
    corruption: &CorruptionRecipe,
    modalities: &[ModalityEncoders],
    env: &Environment,
) -> Result<Option<CorruptedModality>, Problem> {
    let mut table =
        json!({ "kind": corruption.kind.value, "strength": corruption.strength, "seed": recipe.seed });
    if let Some(file) = &corruption.synonyms {
        let read = read_synonyms(recipe, &file.value).map_err(|problem| problem.at(&file.at, "this file"));
        table["synonyms"] = json!(read?);
    }
    let name = &corruption.modality.value;
    let Some(at) = modalities.iter().position(|modality| modality.name == *name) else { return Ok(None) };
    let clean = &modalities[at];
    let encoders = clean.encoders.iter().map(|encoder| {
        encoder.corrupted(&table, env).map_err(|error| {
            Problem::new("chiasm::plan::corruption", error.to_string())
                .at(&corruption.kind.at, "this corruption")
        })
    });
    let encoders = ModalityEncoders {
        name: name.clone(),
        rule: clean.rule,
        train_rule: clean.train_rule,
        encoders: encoders.collect::<Result<_, _>>()?,
    };
    Ok(Some(CorruptedModality { at, encoders, table }))
}

/// The largest file of synonyms, in bytes.
const MAX_SYNONYMS: u64 = 256 << 20;

/// Reads a JSON file of words and their synonyms. The words are in lower case afterwards.
fn read_synonyms(recipe: &Recipe, file: &str) -> Result<BTreeMap<String, Vec<String>>, Problem> {
    let path = recipe.path(file);
    let read = chiasm_host::read_file(&path, MAX_SYNONYMS).map_err(|error| error.to_string());
    let table = read.and_then(|bytes| {
        serde_json::from_slice::<BTreeMap<String, Vec<String>>>(&bytes).map_err(|error| error.to_string())
    });
    let table = table.map_err(|error| {
        Problem::new("chiasm::plan::synonyms", format!("cannot read {}: {error}", path.display()))
            .help("give a JSON object of words and lists of synonyms: { \"circle\": [\"disc\", \"ring\"] }")
    })?;
    Ok(table.into_iter().map(|(word, synonyms)| (word.to_lowercase(), synonyms)).collect())
}
