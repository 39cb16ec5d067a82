//! Comparing variants of one recipe: each fitted on its training rows and cross-validated, all in one table.

pub mod folds;

use crate::{
    base::{error::Error, problem::Problem, workbench::Workbench},
    catalog::dataset::Split,
    embed::{Embedded, rows_with},
    fit::{
        learn::learn_fusion,
        maps::{Training, banked_heads},
        sample::Sample,
    },
    plan::Plan,
    recipe::{Recipe, tree},
    run::{
        evaluate::{Control, Relevance, figures, score_task},
        task_score::TaskMetrics,
    },
};
use chiasm_geometry::folds as split;
use folds::{CrossValidation, TaskFolds, summary, task_folds};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, time::Instant};

/// One row of the comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Variant {
    /// What was swapped, key to value.
    pub swapped: BTreeMap<String, String>,
    /// `plain`, or `bank`: with the hubness bank.
    pub score: &'static str,
    /// On the held-out test rows.
    pub test: Control,
    /// Pairs of modalities that no training row holds together, so that their directions are emergent.
    pub emergent: Vec<[String; 2]>,
    /// Over the folds; none when cross-validation was left out.
    pub cross_validation: Option<CrossValidation>,
    /// How well the fusion answers its task, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskVariant>,
    /// Seconds to fit and score the test split, parameter search included.
    pub fit_seconds: f64,
}

/// A fusion's scores in one variant.
#[derive(Debug, Clone, Serialize)]
pub struct TaskVariant {
    /// On the held-out test rows.
    pub test: TaskMetrics,
    /// Over the folds.
    pub cross_validation: Option<TaskFolds>,
}

/// How to compare.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// `key=a,b` or `key=[...]` assignments; every combination is a variant.
    pub swaps: Vec<String>,
    /// Folds (row mod n); 0 leaves cross-validation out.
    pub folds: usize,
    /// Leave out items that cannot be read.
    pub skip_bad: bool,
}

/// Fits and measures every combination; `ready` is told of each variant as it is done.
///
/// # Errors
/// When a swap does not parse, a variant's plan has problems, or a fit fails.
pub fn compare(
    path: &Path,
    overrides: &[String],
    options: &CompareOptions,
    bench: &Workbench,
    ready: &mut dyn FnMut(&Variant),
) -> Result<Vec<Variant>, Error> {
    let mut variants = Vec::new();
    let mut plans = Vec::new();
    for swapped in combinations(&options.swaps)? {
        let assignments = swapped.iter().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<String> = overrides.iter().cloned().chain(assignments).collect();
        plans.push((swapped, Plan::check(Recipe::load(path, &all)?, bench)?));
    }
    for (swapped, plan) in plans {
        for variant in measure(&plan, &swapped, options, bench)? {
            ready(&variant);
            variants.push(variant);
        }
    }
    Ok(variants)
}

/// Every combination of the swaps' values, in the order given.
fn combinations(swaps: &[String]) -> Result<Vec<Vec<(String, String)>>, Problem> {
    let mut all = vec![Vec::new()];
    for swap in swaps {
        let (key, values) = tree::swap(swap)?;
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

/// The rows of one fit: to fit on, to choose by, and held out.
#[derive(Clone, PartialEq)]
struct Rows {
    train: Vec<usize>,
    validation: Vec<usize>,
    test: Vec<usize>,
}

/// The held-out figures of one fit.
#[derive(Clone)]
struct Scores {
    /// Plain, and with the bank.
    retrieval: [Control; 2],
    task: Option<TaskMetrics>,
}

fn measure(
    plan: &Plan,
    swapped: &[(String, String)],
    options: &CompareOptions,
    bench: &Workbench,
) -> Result<Vec<Variant>, Error> {
    let mixed = plan.modalities.iter().find(|m| m.rule != m.train_rule).filter(|_| options.folds > 0);
    if let Some(modality) = mixed {
        return Err(Error::input(
            "chiasm::compare::train_items",
            format!(
                "the folds make training rows of test rows, and `items` and `train_items` of {:?} differ",
                modality.name
            ),
            "leave the folds out with --folds 0, or take the same items for both",
        ));
    }
    let sample = Sample::embed(plan, bench, options.skip_bad)?;
    let splits = [Split::Train, Split::Validation, Split::Test];
    let of = |at: usize| -> Vec<Embedded> { splits.iter().map(|s| sample.of(*s)[at].clone()).collect() };
    let all =
        (0..plan.modalities.len()).map(|at| Embedded::joined(&of(at))).collect::<Result<Vec<_>, _>>()?;
    let rows_of = |split| rows_with(sample.of(split), 1);
    let [train, validation, test] = splits.map(rows_of);
    let rows = Rows { train, validation, test };
    let clock = Instant::now();
    let test = score(plan, &sample, &all, &rows, bench)?;
    let fit_seconds = clock.elapsed().as_secs_f64();
    let mut by_fold: Vec<Scores> = Vec::new();
    for fold in fold_rows(&rows, options.folds)? {
        by_fold.push(if fold == rows { test.clone() } else { score(plan, &sample, &all, &fold, bench)? });
    }
    let task = test.task.as_ref().map(|test| TaskVariant {
        test: test.clone(),
        cross_validation: task_folds(
            &by_fold.iter().filter_map(|fold| fold.task.as_ref()).collect::<Vec<_>>(),
        ),
    });
    let names: Vec<&str> = plan.modalities.iter().map(|modality| modality.name.as_str()).collect();
    let variant = |which: usize, score| Variant {
        swapped: swapped.iter().cloned().collect(),
        score,
        test: test.retrieval[which].clone(),
        emergent: sample.data.emergent(&names),
        cross_validation: summary(by_fold.iter().map(|fold| &fold.retrieval[which])),
        task: task.clone(),
        fit_seconds,
    };
    Ok(vec![variant(0, "plain"), variant(1, "bank")])
}

/// The rows of every fold: all rows by place modulo the number of folds, none left aside to choose by.
fn fold_rows(rows: &Rows, count: usize) -> Result<Vec<Rows>, Error> {
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
        .map(|fold| Rows { train: pick(&fold.train), validation: Vec::new(), test: pick(&fold.test) })
        .collect())
}

fn score(
    plan: &Plan,
    sample: &Sample,
    all: &[Embedded],
    rows: &Rows,
    bench: &Workbench,
) -> Result<Scores, Error> {
    let select = |rows: &[usize]| all.iter().map(|items| items.select(rows)).collect::<Vec<_>>();
    let mut fitted: Vec<usize> = rows.train.iter().chain(&rows.validation).copied().collect();
    fitted.sort_unstable();
    let training = Training { items: select(&fitted), validation: rows.validation.clone() };
    let learned = training.align(plan, &plan.recipe.align.plugin.to_json(), bench)?;
    let mut fit = learn_fusion(plan, &sample.data, &training, learned, bench)?;
    let test = select(&rows.test);
    let label = plan.recipe.eval.label.as_ref().map(|column| column.value.as_str());
    let relevance = Relevance::of(&sample.data, label);
    let plain = figures(&fit.model.align_all(&test, bench)?, |own| &own.z, &relevance)?;
    let asked = (rows.test.as_slice(), plan.seed());
    let task = score_task(&fit.model, &plan.modalities, &sample.data, &test, asked, bench)?;
    let bank = plan.recipe.score.bank.unwrap_or_default();
    fit.model.heads = banked_heads(&fit.learned, &fit.model, &training.fitted(), bank, bench)?;
    let banked = figures(&fit.model.align_all(&test, bench)?, |own| &own.embeds, &relevance)?;
    Ok(Scores { retrieval: [plain, banked], task })
}
