//! Embedding corrupted items.

use super::{EmbeddedItems, embed_items};
use crate::{
    base::{environment::Environment, error::Error},
    catalog::dataset::RawItems,
    plan::corruption::{CorruptedModality, TrainingCorruption},
    recipe::encoders::ItemRule,
};
use chiasm_geometry::random::Random;

/// Embeds the items of a modality again, all of them corrupted. `clean` are the same items, not corrupted.
///
/// # Errors
/// If an item cannot be read, the engine fails, or the adapter has corrupted no item.
pub fn embed_corrupted(
    modality: &CorruptedModality,
    items: &RawItems,
    clean: &EmbeddedItems,
    rule: ItemRule,
    env: &Environment,
) -> Result<EmbeddedItems, Error> {
    let encoders = &modality.encoders;
    let (corrupted, _) = embed_items(encoders, items, rule, clean.tokens.is_some(), true, env)?;
    if corrupted.rows != clean.rows {
        let message = format!("some items of {:?} cannot be read once they are corrupted", encoders.name);
        return Err(Error::input("chiasm::data::corruption", message, "choose another corruption"));
    }
    let changes = modality.table["strength"].as_f64() != Some(0.0) && !clean.rows.is_empty();
    if changes && corrupted.pooled == clean.pooled {
        let message = format!(
            "no vector of {:?} changes under {}: its adapter may not corrupt items",
            encoders.name, modality.table
        );
        return Err(Error::input("chiasm::data::corruption", message, "choose another corruption"));
    }
    Ok(corrupted)
}

/// Corrupts training items of one modality. Each is corrupted with the same probability, as `seed`
/// determines.
///
/// # Errors
/// As [`embed_corrupted`].
pub fn corrupt_training(
    corruption: &TrainingCorruption,
    items: &RawItems,
    clean: &EmbeddedItems,
    seed: u64,
    env: &Environment,
) -> Result<EmbeddedItems, Error> {
    let modality = &corruption.corrupted;
    let corrupted = embed_corrupted(modality, items, clean, modality.encoders.train_rule, env)?;
    let mut random = Random::new(seed.wrapping_add(modality.at as u64));
    let chosen: Vec<bool> = clean.rows.iter().map(|_| random.uniform() < corruption.probability).collect();
    if !corruption.keep_clean {
        return clean.replaced(&corrupted, &chosen);
    }
    let added: Vec<usize> = (0..chosen.len()).filter(|at| chosen[*at]).collect();
    EmbeddedItems::joined(&[clean.clone(), corrupted.at(&added)])
}
