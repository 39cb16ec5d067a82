//! The sweeps over corrupted and missing test items, for the fitted model and for baselines.

use super::{embedded_data::EmbeddedData, learn::fuse, maps::TrainingSet};
use crate::{
    base::{environment::Environment, error::Error},
    catalog::dataset::Split,
    embed::{EmbeddedItems, corrupted::embed_corrupted},
    plan::Plan,
    recipe::robustness::RobustnessRecipe,
    run::{
        model::LearnedModel,
        relevance::Relevance,
        robustness::{Robustness, RobustnessCurve, Sweep, SweepItems},
    },
};

/// Measures a fitted model and the baselines of the recipe. The baselines are fitted on the same items.
///
/// # Errors
/// If a baseline cannot be fitted, or a corrupted item cannot be embedded.
pub(super) fn sweep(
    plan: &Plan,
    recipe: &RobustnessRecipe,
    sample: &EmbeddedData,
    training: &TrainingSet,
    model: &LearnedModel,
    env: &Environment,
) -> Result<Robustness, Error> {
    let mut models = vec![(plan.recipe.align.plugin.id.value.clone(), model.clone())];
    for (name, baseline) in &recipe.baselines {
        let learned = training.align_with(&baseline.id.value, plan, &baseline.to_json(), env)?;
        models.push((name.clone(), fuse(plan, &sample.data, training, learned, env)?.model));
    }
    let clean = sample.of(Split::Test);
    let corrupted = corrupted(plan, sample, env)?;
    let items = SweepItems {
        modalities: &plan.modalities,
        data: &sample.data,
        clean,
        corrupted: &corrupted,
        relevance: &Relevance::of(&sample.data, &plan.recipe),
        seed: plan.seed(),
    };
    let tables = plan.corruption.test.iter();
    let mut robustness = Robustness {
        corruption: tables.map(|one| (one.encoders.name.clone(), one.table.clone())).collect(),
        ..Robustness::default()
    };
    for (sweep, shares) in [(Sweep::Corruption, &recipe.corruption), (Sweep::Missing, &recipe.missing)] {
        for (system, model) in models.iter().filter(|_| !shares.is_empty()) {
            let points = items.curve(sweep, model, shares, env)?;
            robustness.curves.push(RobustnessCurve { system: system.clone(), sweep, points });
        }
    }
    Ok(robustness)
}

/// Embeds the test items of the modalities that the recipe corrupts, all of them corrupted.
fn corrupted(
    plan: &Plan,
    sample: &EmbeddedData,
    env: &Environment,
) -> Result<Vec<Option<EmbeddedItems>>, Error> {
    let rows = sample.data.dataset.rows_of(Split::Test);
    let clean = sample.of(Split::Test);
    let mut all: Vec<Option<EmbeddedItems>> = clean.iter().map(|_| None).collect();
    for modality in &plan.corruption.test {
        let items = sample.data.items[modality.at].of_rows(&rows);
        let rule = modality.encoders.rule;
        all[modality.at] = Some(embed_corrupted(modality, &items, &clean[modality.at], rule, env)?);
    }
    Ok(all)
}
