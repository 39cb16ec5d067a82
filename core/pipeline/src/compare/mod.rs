//! Comparing variants of one recipe. Each is fitted on its training rows and cross-validated.

pub mod folds;

use crate::{
    base::{environment::Environment, error::Error, problem::Problem},
    catalog::dataset::Split,
    embed::{EmbeddedItems, rows_with},
    fit::{
        embedded_data::EmbeddedData,
        learn::learn_fusion,
        maps::{TrainingSet, banked_heads},
    },
    plan::Plan,
    recipe::{Recipe, tree},
    run::{
        evaluate::{RetrievalSummary, retrieval_summary, score_task},
        relevance::Relevance,
        task_score::TaskMetrics,
    },
};
use chiasm_geometry::folds as split;
use folds::{CrossValidation, TaskCrossValidation, retrieval_over_folds, task_over_folds};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, time::Instant};

/// One row of the comparison.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct VariantReport {
    /// The swapped keys and their values.
    pub swapped: BTreeMap<String, String>,
    /// `plain`, or `bank` for scores with the hubness bank.
    pub score: &'static str,
    /// Retrieval on the test rows.
    pub test: RetrievalSummary,
    /// Pairs of modalities that no training row has together; their directions are emergent.
    pub emergent: Vec<[String; 2]>,
    /// Retrieval over the folds; `None` without cross-validation.
    pub cross_validation: Option<CrossValidation>,
    /// The scores of the fusion, if it was trained for a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<VariantTaskReport>,
    /// Seconds to fit and to score the test split, including the parameter search.
    pub fit_seconds: f64,
}

/// The scores of a fusion in one variant.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct VariantTaskReport {
    /// Scores on the test rows.
    pub test: TaskMetrics,
    /// Scores over the folds.
    pub cross_validation: Option<TaskCrossValidation>,
}

/// Options of [`compare`].
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// `key=a,b` or `key=[...]` assignments; every combination is a variant.
    pub swaps: Vec<String>,
    /// Number of folds (row mod n) of the cross-validation; 0 for none.
    pub folds: usize,
    /// Skip items that cannot be read.
    pub skip_bad: bool,
}

/// Fits and measures every variant of a recipe. `ready` is called for each variant when it is done.
///
/// # Errors
/// If a swap is invalid, the plan of a variant has problems, or a fit fails.
pub fn compare(
    path: &Path,
    overrides: &[String],
    options: &CompareOptions,
    env: &Environment,
    ready: &mut dyn FnMut(&VariantReport),
) -> Result<Vec<VariantReport>, Error> {
    let mut variants = Vec::new();
    let mut plans = Vec::new();
    for swapped in combinations(&options.swaps)? {
        let assignments = swapped.iter().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<String> = overrides.iter().cloned().chain(assignments).collect();
        plans.push((swapped, Plan::check(Recipe::load(path, &all)?, env)?));
    }
    for (swapped, plan) in plans {
        for variant in measure(&plan, &swapped, options, env)? {
            ready(&variant);
            variants.push(variant);
        }
    }
    Ok(variants)
}

/// Returns every combination of the values of the swaps, in the given order.
fn combinations(swaps: &[String]) -> Result<Vec<Vec<(String, String)>>, Problem> {
    let mut all = vec![Vec::new()];
    for swap in swaps {
        let (key, values) = tree::parse_swap(swap)?;
        all = (all.iter())
            .flat_map(|before: &Vec<(String, String)>| {
                values.iter().map(|value| {
                    let mut next = before.clone();
                    next.push((key.clone(), value.clone()));
                    next
                })
            })
            .collect();
    }
    Ok(all)
}

/// The rows of one fit, by split.
#[derive(Clone, PartialEq)]
struct SplitRows {
    train: Vec<usize>,
    validation: Vec<usize>,
    test: Vec<usize>,
}

/// The test scores of one fit.
#[derive(Clone)]
struct FitScores {
    /// Without and with the hubness bank.
    retrieval: [RetrievalSummary; 2],
    task: Option<TaskMetrics>,
}

fn measure(
    plan: &Plan,
    swapped: &[(String, String)],
    options: &CompareOptions,
    env: &Environment,
) -> Result<Vec<VariantReport>, Error> {
    let mixed = plan.modalities.iter().find(|m| m.rule != m.train_rule).filter(|_| options.folds > 0);
    if let Some(modality) = mixed {
        return Err(Error::input(
            "chiasm::compare::train_items",
            format!(
                "cross-validation trains on test rows, but `items` and `train_items` of {:?} differ",
                modality.name
            ),
            "use --folds 0 for no cross-validation, or set `items` and `train_items` to the same value",
        ));
    }
    if options.folds > 0 {
        let help = "use --folds 0 for no cross-validation, or remove [data.corruption]";
        plan.corruption.check_held_out(help)?;
    }
    let sample = EmbeddedData::embed(plan, env, options.skip_bad)?;
    let splits = [Split::Train, Split::Validation, Split::Test];
    let of = |at: usize| -> Vec<EmbeddedItems> { splits.iter().map(|s| sample.of(*s)[at].clone()).collect() };
    let all =
        (0..plan.modalities.len()).map(|at| EmbeddedItems::joined(&of(at))).collect::<Result<Vec<_>, _>>()?;
    let rows_of = |split| rows_with(sample.of(split), 1);
    let [train, validation, test] = splits.map(rows_of);
    let rows = SplitRows { train, validation, test };
    let clock = Instant::now();
    let test = score(plan, &sample, &all, &rows, env)?;
    let fit_seconds = clock.elapsed().as_secs_f64();
    let mut by_fold: Vec<FitScores> = Vec::new();
    for fold in fold_rows(&rows, options.folds)? {
        by_fold.push(if fold == rows { test.clone() } else { score(plan, &sample, &all, &fold, env)? });
    }
    let task = test.task.as_ref().map(|test| VariantTaskReport {
        test: test.clone(),
        cross_validation: task_over_folds(
            &by_fold.iter().filter_map(|fold| fold.task.as_ref()).collect::<Vec<_>>(),
        ),
    });
    let names: Vec<&str> = plan.modalities.iter().map(|modality| modality.name.as_str()).collect();
    let variant = |which: usize, score| VariantReport {
        swapped: swapped.iter().cloned().collect(),
        score,
        test: test.retrieval[which].clone(),
        emergent: sample.data.emergent(&names),
        cross_validation: retrieval_over_folds(by_fold.iter().map(|fold| &fold.retrieval[which])),
        task: task.clone(),
        fit_seconds,
    };
    Ok(vec![variant(0, "plain"), variant(1, "bank")])
}

/// Returns the rows of every fold. A row belongs to the fold of its index modulo `count`; there are no
/// validation rows.
fn fold_rows(rows: &SplitRows, count: usize) -> Result<Vec<SplitRows>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut all: Vec<usize> =
        [&rows.train, &rows.validation, &rows.test].into_iter().flatten().copied().collect();
    all.sort_unstable();
    let folds = split::interleaved_folds(all.len(), count)
        .map_err(|e| Error::input("chiasm::compare::folds", e.to_string(), "choose another --folds"))?;
    let pick = |places: &[usize]| places.iter().map(|&at| all[at]).collect::<Vec<_>>();
    Ok((folds.iter())
        .map(|fold| SplitRows { train: pick(&fold.train), validation: Vec::new(), test: pick(&fold.test) })
        .collect())
}

fn score(
    plan: &Plan,
    sample: &EmbeddedData,
    all: &[EmbeddedItems],
    rows: &SplitRows,
    env: &Environment,
) -> Result<FitScores, Error> {
    let select = |rows: &[usize]| all.iter().map(|items| items.select(rows)).collect::<Vec<_>>();
    let mut fitted: Vec<usize> = rows.train.iter().chain(&rows.validation).copied().collect();
    fitted.sort_unstable();
    let training = TrainingSet { items: select(&fitted), validation: rows.validation.clone() };
    let learned = training.align(plan, &plan.recipe.align.plugin.to_json(), env)?;
    let mut fit = learn_fusion(plan, &sample.data, &training, learned, env)?;
    let test = select(&rows.test);
    let relevance = Relevance::of(&sample.data, &plan.recipe);
    let plain = retrieval_summary(&fit.model.align_all(&test, env)?, |own| &own.z, &relevance)?;
    let asked = (rows.test.as_slice(), plan.seed());
    let task = score_task(&fit.model, &plan.modalities, &sample.data, &test, asked, env)?;
    let bank = plan.recipe.score.bank.unwrap_or_default();
    fit.model.heads = banked_heads(&fit.learned, &fit.model, &training.training_items(), bank, env)?;
    let banked = retrieval_summary(&fit.model.align_all(&test, env)?, |own| &own.embeds, &relevance)?;
    Ok(FitScores { retrieval: [plain, banked], task })
}
