//! Training rows of a recipe that are summed and not kept.

use super::{data::RecipeData, modality::ModalityEncoders};
use crate::{
    base::problem::{Problem, Problems},
    catalog::{dataset::Split, shards::Shards},
    recipe::Recipe,
};
use std::sync::Arc;

/// The aligners whose maps depend on sums over the training rows.
const SUMMED: [&str; 3] = ["cca", "procrustes", "ridge"];

/// Opens the files of `data.shards`, and reports what does not go with them.
pub(super) fn open(
    recipe: &Recipe,
    modalities: &[ModalityEncoders],
    data: &RecipeData,
    problems: &mut Problems,
) -> Option<Arc<Shards>> {
    let shards = recipe.data.shards.as_ref()?;
    let code = "chiasm::plan::shards";
    let baselines = recipe.robustness.iter().flat_map(|robustness| &robustness.baselines);
    for plugin in std::iter::once(&recipe.align.plugin).chain(baselines.map(|(_, plugin)| plugin)) {
        if !SUMMED.contains(&plugin.id.value.as_str()) {
            let message = format!("{:?} needs all training rows in memory", plugin.id.value);
            let problem = Problem::new(code, message).at(&plugin.id.at, "this aligner");
            problems.push(problem.help(format!("with data.shards, use {}", SUMMED.join(", "))));
        }
    }
    for encoder in recipe.encoders.iter().filter(|encoder| encoder.vectors.is_none()) {
        let message = format!("data.shards holds vectors, and {:?} has a model", encoder.modality.value);
        let problem = Problem::new(code, message).at(&encoder.modality.at, "this modality");
        problems.push(problem.help("give `vectors` of the same encoder for the rows that are not in shards"));
    }
    if !data.dataset.rows_of(Split::Validation).is_empty() {
        let message = "data.shards does not go with validation rows: parameters are chosen by \
                       cross-validation on 2000 of the rows that are summed";
        let problem = Problem::new(code, message).at(&shards.at, "these rows");
        problems.push(problem.help("make them training or test rows"));
    }
    if let Some(first) = recipe.data.corruption.first() {
        let problem = Problem::new(code, "the rows of data.shards are not corrupted");
        problems.push(
            problem.at(&first.corruption.modality.at, "this corruption").help("remove it, or data.shards"),
        );
    }
    let widths = modalities.iter().map(|modality| (modality.name.clone(), modality.width())).collect();
    let opened = Shards::open(&recipe.path(&shards.value), widths);
    problems.keep(opened.map(Arc::new).map_err(|problem| problem.at(&shards.at, "these rows")))
}
