//! The fitted model: maps, with a hubness bank and a fusion if the recipe has them.

use super::{
    fusion,
    maps::{TrainingSet, banked_heads, plain_heads},
};
use crate::{
    base::{environment::Environment, error::Error},
    embed::{EmbeddedItems, means, rows_with},
    plan::{Plan, data::RecipeData},
    run::{
        check::spanned_dimension,
        fusion_inputs::{FusionInputs, retrieval_targets},
        model::LearnedModel,
    },
};
use chiasm_host::{Fused, Learned};
use serde_json::Value;
use std::collections::BTreeMap;

/// The result of fitting the maps and the fusion.
pub struct FittedModel {
    /// The aligner's maps.
    pub learned: Learned,
    /// The heads and the fusion.
    pub model: LearnedModel,
    /// The fusion's notes on its fit.
    pub fusion_notes: Value,
}

/// Fits the fusion on the training rows, and adds the hubness bank if the recipe has one.
pub(super) fn fuse(
    plan: &Plan,
    data: &RecipeData,
    training: &TrainingSet,
    learned: Learned,
    env: &Environment,
) -> Result<FittedModel, Error> {
    let mut fit = learn_fusion(plan, data, training, learned, env)?;
    if let Some(bank) = plan.recipe.score.bank {
        fit.model.heads = banked_heads(&fit.learned, &fit.model, &training.training_items(), bank, env)?;
    }
    Ok(fit)
}

/// Fits the fusion on the training rows. The heads of the model have no hubness bank.
///
/// # Errors
/// If the fusion fails.
pub fn learn_fusion(
    plan: &Plan,
    data: &RecipeData,
    training: &TrainingSet,
    learned: Learned,
    env: &Environment,
) -> Result<FittedModel, Error> {
    let heads = plain_heads(&learned, &training.items)?;
    let task = data.task.as_ref().map(|task| task.task.clone());
    let mut model = LearnedModel { heads, inverses: learned.inverses.clone(), fusion: None, task };
    let mut fusion_notes = Value::Null;
    if plan.recipe.fuse.is_some() {
        let mut rows = rows_with(&training.items, 1);
        rows.retain(|row| training.validation.binary_search(row).is_err());
        let mut found = retrieval_targets(data, &plan.modalities, &model, &rows, env)?;
        if let Some(targets) = found.as_mut().filter(|targets| targets.counts.contains(&0)) {
            // A row without target items cannot be trained on.
            let counts = std::mem::take(&mut targets.counts);
            rows =
                rows.into_iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(row, _)| row).collect();
            targets.counts = counts.into_iter().filter(|count| *count > 0).collect();
        }
        let inputs = FusionInputs::of(&model, &training.items, &rows, found, env)?;
        if let Some(Fused { graph, notes }) = fusion::fit(plan, &inputs, env)? {
            (model.fusion, fusion_notes) = (Some(graph), notes);
        }
    }
    Ok(FittedModel { learned, model, fusion_notes })
}

/// Returns the dimension of the subspace that the training pairs of each modality span: that of the row
/// means, over rows that also have another modality. A map cannot learn anything about directions outside
/// this subspace.
pub(super) fn spans(items: &[EmbeddedItems]) -> Result<BTreeMap<String, usize>, Error> {
    let joint = rows_with(items, 2);
    let of = |items: &EmbeddedItems| {
        let paired = items.select(&joint);
        let counts: Vec<usize> = paired.rows.chunk_by(|a, b| a == b).map(<[usize]>::len).collect();
        Ok((items.name.clone(), spanned_dimension(&means(paired.pooled.view(), &counts))?))
    };
    items.iter().map(of).collect()
}
