//! The embedded items of a plan.

use super::maps::TrainingSet;
use crate::{
    base::{environment::Environment, error::Error},
    catalog::{dataset::Split, raw::RawItem, shards::Shards},
    embed::{
        EmbedRequest, EmbeddedItems, SkippedItem,
        batch_effect::{BatchEffect, EXPECTED, LIMIT, batch_effects},
        corrupted::corrupt_training,
        embed_items, rows_with,
    },
    plan::{ModalityEncoders, Plan, data::RecipeData, task::GroundTruth},
    recipe::encoders::ItemRule,
    run::files::RowCounts,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// The embedded items of a plan, and its data without skipped items.
pub struct EmbeddedData {
    /// The data without skipped items.
    pub data: RecipeData,
    /// The items of every modality, by split.
    pub splits: BTreeMap<Split, Vec<EmbeddedItems>>,
    /// The skipped items.
    pub skipped: Vec<SkippedItem>,
    /// More training rows, which are summed and not kept.
    pub shards: Option<Arc<Shards>>,
}

impl EmbeddedData {
    /// Embeds the items of every split.
    ///
    /// # Errors
    /// As [`EmbedRequest::embed`], and if too few rows remain.
    pub fn embed(plan: &Plan, env: &Environment, skip_bad: bool) -> Result<Self, Error> {
        let data = &plan.data;
        let (mut splits, mut skipped) = (BTreeMap::new(), Vec::new());
        for split in [Split::Train, Split::Validation, Split::Test] {
            let request = EmbedRequest {
                modalities: &plan.modalities,
                items: &data.items,
                ids: &data.dataset.ids,
                tokens: &|_| plan.reads_tokens,
                skip_bad,
                training: split != Split::Test,
            };
            let rows = data.dataset.rows_of(split);
            let (mut embedded, bad) = request.embed(&rows, env)?;
            if split == Split::Train {
                corrupt(plan, &rows, &mut embedded, env)?;
            }
            skipped.extend(bad);
            for target in unreadable_targets(data, &plan.modalities, &rows, skip_bad, env)? {
                if !skipped.contains(&target) {
                    skipped.push(target);
                }
            }
            splits.insert(split, embedded);
        }
        for one in skipped.iter().take(10) {
            let SkippedItem { row, modality, reason, .. } = one;
            env.reporter.note(&format!("skipped an item of {modality} in row {row:?}: {reason}"));
        }
        if !skipped.is_empty() {
            env.reporter.note(&format!("skipped {} items (--skip-bad)", skipped.len()));
        }
        let names: Vec<&str> = plan.modalities.iter().map(|modality| modality.name.as_str()).collect();
        let places: HashSet<(&str, &str, usize)> =
            skipped.iter().map(|s: &SkippedItem| (s.row.as_str(), s.modality.as_str(), s.item)).collect();
        let left_out = |row: &str, modality: &str, item: usize| places.contains(&(row, modality, item));
        let data = if skipped.is_empty() { data.clone() } else { data.without(&names, &left_out) };
        let sample = Self { data, splits, skipped, shards: plan.shards.clone() };
        sample.check_rows()?;
        Ok(sample)
    }

    fn check_rows(&self) -> Result<(), Error> {
        let joint = |split| rows_with(self.of(split), 2).len();
        let (train, test) = (joint(Split::Train), joint(Split::Test));
        if train < 2 || test < 1 {
            return Err(Error::input(
                "chiasm::data::split",
                format!(
                    "expected at least 2 train rows and 1 test row with two or more readable modalities, got \
                     {train} and {test}"
                ),
                "repair items that cannot be read, or add rows",
            ));
        }
        Ok(())
    }

    /// Returns the items of a split.
    pub fn of(&self, split: Split) -> &[EmbeddedItems] {
        self.splits.get(&split).map_or(&[], Vec::as_slice)
    }

    /// Returns the items of the training and validation rows.
    ///
    /// # Errors
    /// [`Error::Internal`] if the splits cannot be joined.
    pub fn training(&self) -> Result<TrainingSet, Error> {
        let (train, validation) = (self.of(Split::Train), self.of(Split::Validation));
        let shards = self.shards.clone();
        if validation.iter().all(|items| items.rows.is_empty()) {
            return Ok(TrainingSet { items: train.to_vec(), validation: Vec::new(), shards });
        }
        let items = train.iter().zip(validation);
        let items =
            items.map(|(a, b)| EmbeddedItems::joined(&[a.clone(), b.clone()])).collect::<Result<_, _>>()?;
        Ok(TrainingSet { items, validation: rows_with(validation, 1), shards })
    }

    /// Returns raw items of every modality for the comparison of the merged model with its parts: test items,
    /// or all items if there are no test items.
    pub(super) fn items_to_prove(&self, plan: &Plan) -> Vec<Vec<RawItem>> {
        let rows = self.data.dataset.rows_of(Split::Test);
        let of = |at: usize| {
            let held_out = self.data.items[at].of_rows(&rows).raw;
            if held_out.is_empty() { self.data.items[at].raw.clone() } else { held_out }
        };
        (0..plan.modalities.len()).map(of).collect()
    }

    /// Embeds some training items again, to measure how their vectors depend on their batch. Test items stand
    /// in for training items that are corrupted.
    ///
    /// # Errors
    /// [`Error::Gate`] if the vectors of an encoder differ by more than [`LIMIT`].
    pub(super) fn batch_effects(
        &self,
        plan: &Plan,
        env: &Environment,
    ) -> Result<BTreeMap<String, BatchEffect>, Error> {
        let mut all = BTreeMap::new();
        for (at, modality) in plan.modalities.iter().enumerate() {
            let corrupted = plan.corruption.training.iter().any(|own| own.corrupted.at == at);
            let split = if corrupted { Split::Test } else { Split::Train };
            let Some(fitted) = self.of(split).get(at) else { continue };
            for (encoder, effect) in batch_effects(modality, &self.data.items[at], fitted, env)? {
                let name = format!("{}/{encoder}", modality.name);
                let largest = effect.largest();
                let told = format!(
                    "{name}: the vector of an item changes with the other items of its batch, by up to \
                     {largest:.1e} of unit vectors on {} rows ({EXPECTED:.0e} is expected)",
                    effect.rows
                );
                if largest > LIMIT {
                    return Err(Error::Gate(format!(
                        "{told}; the limit is {LIMIT}. Export the model with an input `attention_mask` and \
                         without dynamic quantisation; no run folder was written"
                    )));
                }
                if largest > EXPECTED {
                    env.reporter.note(&format!(
                        "warning: {told}. Dynamic quantisation has this effect: an export in 32-bit or \
                         16-bit floats does not"
                    ));
                }
                all.insert(name, effect);
            }
        }
        Ok(all)
    }

    /// Returns the number of rows per split, and the skipped items.
    pub(super) fn counts(&self) -> RowCounts {
        let rows = |split| rows_with(self.of(split), 1).len();
        let summed = self.shards.as_ref().map_or(0, |shards| shards.rows());
        RowCounts {
            train: rows(Split::Train) + usize::try_from(summed).unwrap_or(usize::MAX),
            validation: rows(Split::Validation),
            test: rows(Split::Test),
            skipped: self.skipped.clone(),
        }
    }
}

/// Corrupts training items, as the recipe says.
fn corrupt(
    plan: &Plan,
    rows: &[usize],
    embedded: &mut [EmbeddedItems],
    env: &Environment,
) -> Result<(), Error> {
    for corruption in &plan.corruption.training {
        let at = corruption.corrupted.at;
        let items = plan.data.items[at].of_rows(rows);
        embedded[at] = corrupt_training(corruption, &items, &embedded[at], plan.seed(), env)?;
    }
    Ok(())
}

/// Returns the target items of a retrieval task that cannot be read.
fn unreadable_targets(
    data: &RecipeData,
    modalities: &[ModalityEncoders],
    rows: &[usize],
    skip_bad: bool,
    env: &Environment,
) -> Result<Vec<SkippedItem>, Error> {
    let Some(GroundTruth::Others { modality, items }) = data.task.as_ref().map(|task| &task.truth) else {
        return Ok(Vec::new());
    };
    let Some(own) = modalities.iter().find(|own| own.name == *modality) else { return Ok(Vec::new()) };
    let items = items.of_rows(rows);
    let (_, bad) = embed_items(own, &items, ItemRule::Each, false, skip_bad, env)?;
    let skipped = |(at, reason): (usize, String)| SkippedItem {
        row: data.dataset.ids[items.rows[at]].clone(),
        modality: modality.clone(),
        item: items.position[at],
        reason,
    };
    Ok(bad.into_iter().map(skipped).collect())
}
