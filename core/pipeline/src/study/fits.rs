//! The fits of a study: the recipe with some changes, fitted on some rows and scored on others.

use super::folder::{INPUTS, StudyIdentity};
use crate::{
    base::{digest::KeyHasher, environment::Environment, error::Error},
    embed::{EmbeddedItems, rows_with},
    fit::{
        embedded_data::EmbeddedData,
        key,
        maps::{TrainingSet, banked_heads, plain_heads},
    },
    plan::{Plan, data::RecipeData},
    recipe::{Recipe, encoders::EncoderRecipe, reader::Located},
    run::{
        model::LearnedModel,
        query_scores::{QueryScores, QueryValues, StudyMetric},
        relevance::Relevance,
    },
};
use chiasm_geometry::folds::shuffled_folds;
use chiasm_host::{Parameter, ParameterKind};
use serde_json::json;
use std::{cell::RefCell, collections::BTreeSet, path::Path, rc::Rc};

/// Of this many parts of the rows, one is held out if a study has a single fold.
const PARTS: usize = 5;

/// A recipe, and where it is fitted.
pub struct StudyFits<'a> {
    /// The recipe file.
    pub path: &'a Path,
    /// The `--set` assignments.
    pub overrides: &'a [String],
    /// Skip items that cannot be read.
    pub skip_bad: bool,
    /// The metric.
    pub metric: StudyMetric,
    /// The plugins, the engine and the cache.
    pub env: &'a Environment,
    /// The items that were embedded last, and what they depend on.
    embedded: RefCell<Option<(String, Rc<EmbeddedData>)>>,
}

/// The changes of a recipe that make one fit of a study.
#[derive(Debug, Clone, Default)]
pub struct RecipeChanges {
    /// Assignments as for `--set`.
    pub assignments: Vec<String>,
    /// Leave out keys of `[align]` that the aligner does not have, because they are those of another one.
    pub only_known: bool,
    /// Leave out `[align.terms]`.
    pub without_terms: bool,
}

/// The rows of a fit that chooses settings.
pub struct ValidationFold {
    /// The items to fit on.
    pub training: TrainingSet,
    /// The items to score.
    pub held_out: Vec<EmbeddedItems>,
}

impl<'a> StudyFits<'a> {
    /// Returns the fits of a recipe.
    pub fn new(
        path: &'a Path,
        overrides: &'a [String],
        metric: StudyMetric,
        skip_bad: bool,
        env: &'a Environment,
    ) -> Self {
        Self { path, overrides, skip_bad, metric, env, embedded: RefCell::new(None) }
    }

    /// Returns the recipe with some changes.
    ///
    /// # Errors
    /// If the recipe or a change is not valid, or the aligner is not found.
    pub fn recipe(&self, changes: &RecipeChanges) -> Result<Recipe, Error> {
        let all: Vec<String> = self.overrides.iter().chain(&changes.assignments).cloned().collect();
        let mut recipe = Recipe::load(self.path, &all)?;
        let aligner = &mut recipe.align.plugin;
        if changes.only_known {
            let known = self.env.host.aligner(&aligner.id.value)?.parameters()?;
            aligner.parameters.retain(|(key, _)| known.iter().any(|parameter| parameter.name == *key));
        }
        if changes.without_terms {
            aligner.parameters.retain(|(key, _)| key != "terms");
        }
        Ok(recipe)
    }

    /// Returns the checked plan of the recipe with some changes.
    ///
    /// # Errors
    /// Every problem in the recipe.
    pub fn plan(&self, changes: &RecipeChanges) -> Result<Plan, Error> {
        let mut plan = Plan::check(self.recipe(changes)?, self.env)?;
        plan.reads_tokens = false; // no fusion is fitted
        Ok(plan)
    }

    /// Embeds the items of a plan, unless it has the same ones as the plan before.
    ///
    /// # Errors
    /// If an item cannot be read and is not skipped, or the engine fails.
    pub fn embed(&self, plan: &Plan) -> Result<Rc<EmbeddedData>, Error> {
        let inputs = embedding_inputs(&plan.recipe) + &plan.corruption.content();
        if let Some((known, data)) = &*self.embedded.borrow()
            && *known == inputs
        {
            return Ok(Rc::clone(data));
        }
        let data = Rc::new(EmbeddedData::embed(plan, self.env, self.skip_bad)?);
        *self.embedded.borrow_mut() = Some((inputs, Rc::clone(&data)));
        Ok(data)
    }

    /// Fits the maps of a plan on a training set, and returns the metric of every query among other items.
    ///
    /// # Errors
    /// If the aligner or the engine fails.
    pub fn fit(
        &self,
        plan: &Plan,
        data: &RecipeData,
        training: &TrainingSet,
        held_out: &[EmbeddedItems],
    ) -> Result<QueryValues, Error> {
        let learned = training.align(plan, &plan.recipe.align.plugin.to_json(), self.env)?;
        let heads = plain_heads(&learned, &training.items)?;
        let inverses = learned.inverses.clone();
        let mut model = LearnedModel { heads, inverses, fusion: None, task: None };
        if let Some(bank) = plan.recipe.score.bank {
            model.heads = banked_heads(&learned, &model, &training.training_items(), bank, self.env)?;
        }
        let relevance = Relevance::of(data, &plan.recipe);
        let aligned = model.align_all(held_out, self.env)?;
        let values = QueryScores::of(&aligned, |own| &own.embeds, &relevance)?.values(self.metric);
        if values.is_empty() {
            let message = "no row to score has two modalities, so retrieval cannot be measured";
            return Err(Error::input("chiasm::study::rows", message, "add rows with two modalities"));
        }
        Ok(values)
    }

    /// Returns what the results of a study depend on. `aligners` are the aligners that it may use.
    ///
    /// # Errors
    /// If a plugin or the engine is missing.
    pub fn identity(&self, plan: &Plan, aligners: &BTreeSet<String>) -> Result<StudyIdentity, Error> {
        let mut inputs = KeyHasher::default();
        inputs.add(key(plan, self.env, self.skip_bad)?);
        for id in aligners {
            inputs.add(self.env.host.aligner(id)?.sha256());
        }
        let mut text = KeyHasher::default();
        text.add(&plan.recipe.text);
        Ok(StudyIdentity::from([
            ("the recipe", json!(text.finish())),
            ("--set", json!(self.overrides)),
            ("--metric", json!(self.metric.name())),
            (INPUTS, json!(inputs.finish())),
        ]))
    }
}

/// Returns the folds on which settings are compared. They hold training and validation rows only: of the
/// items of test rows nothing is passed on.
///
/// A single fold holds out the validation rows of the data, or a fifth of the training rows that have two
/// modalities if there are none. `count` folds hold out each of as many parts of both in turn. Rows with one
/// modality are always fitted on. In these fits the aligner is given no validation rows.
///
/// # Errors
/// If there are fewer rows than folds, or training rows would be held out and the recipe corrupts them.
pub fn validation_folds(
    plan: &Plan,
    data: &EmbeddedData,
    count: usize,
) -> Result<Vec<ValidationFold>, Error> {
    let training = data.training()?;
    let pool = rows_with(&training.items, 2);
    let given: Vec<usize> =
        pool.iter().copied().filter(|row| training.validation.binary_search(row).is_ok()).collect();
    let held_out: Vec<Vec<usize>> = if count == 1 && given.len() >= 2 {
        vec![given]
    } else {
        let parts = if count == 1 { PARTS } else { count };
        let help = "use --folds 1 with validation rows in the data, or remove [data.corruption]";
        plan.corruption.check_held_out(help)?;
        let folds = shuffled_folds(pool.len(), parts, plan.seed()).map_err(|e| {
            Error::input(
                "chiasm::study::folds",
                format!("training rows with two modalities: {e}"),
                "choose another --folds",
            )
        })?;
        folds[..count].iter().map(|fold| fold.test.iter().map(|at| pool[*at]).collect()).collect()
    };
    let all = rows_with(&training.items, 1);
    let fold = |held_out: Vec<usize>| {
        let fitted: Vec<usize> =
            all.iter().copied().filter(|row| held_out.binary_search(row).is_err()).collect();
        let select = |rows: &[usize]| training.items.iter().map(|items| items.select(rows)).collect();
        ValidationFold {
            training: TrainingSet {
                items: select(&fitted),
                validation: Vec::new(),
                shards: training.shards.clone(),
            },
            held_out: select(&held_out),
        }
    };
    Ok(held_out.into_iter().map(fold).collect())
}

/// Returns the declaration of a parameter by its path below `[align]`, for example `terms.ot`.
pub fn declared<'p>(path: &str, parameters: &'p [Parameter]) -> Option<&'p Parameter> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let own = parameters.iter().find(|parameter| parameter.name == name)?;
    match (rest, &own.kind) {
        (None, _) => Some(own),
        (Some(rest), ParameterKind::Table { of }) => declared(rest, of),
        (Some(_), ParameterKind::PerModality { .. }) => Some(own),
        _ => None,
    }
}

/// Returns the reason of a failed fit, if other settings may still succeed: the aligner refused this one, or
/// failed. Any other error ends the study.
///
/// # Errors
/// The error, if it does not concern the setting.
pub fn reason(error: Error) -> Result<String, Error> {
    match error {
        Error::Host(error) => Ok(error.to_string()),
        Error::Problems(problems) => {
            Ok(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
        other => Err(other),
    }
}

/// Returns everything in a recipe that its embedded items depend on.
fn embedding_inputs(recipe: &Recipe) -> String {
    let encoder = |own: &EncoderRecipe| {
        let models: Vec<&str> = own.models.iter().map(|model| model.value.as_str()).collect();
        let text = |at: &Option<Located<String>>| at.as_ref().map(|at| at.value.clone());
        let vectors = (text(&own.vectors), text(&own.member));
        format!(
            "{:?}",
            (&own.modality.value, models, vectors, &own.column.value, own.items.value, own.train_items.value)
        )
    };
    let value = |at: &Option<Located<String>>| at.as_ref().map(|at| at.value.clone());
    let encoders: Vec<String> = recipe.encoders.iter().map(encoder).collect();
    format!("{:?}", (encoders, value(&recipe.data.pairs), value(&recipe.data.split)))
}
