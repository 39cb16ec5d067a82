//! Comparing variants of one recipe: each fitted on its training rows and cross-validated, all in one table.

use crate::{
    Error, Plan, Recipe, Workbench,
    evaluate::Control,
    fit::{Rows, embed_all},
    maps::{Clouds, Maps},
    problem::Problem,
    tree,
};
use chiasm_geometry::folds;
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
    /// Over the folds; none when cross-validation was left out.
    pub cross_validation: Option<CrossValidation>,
    /// Seconds to fit the test split's maps, parameter search included.
    pub fit_seconds: f64,
}

/// Means over the folds.
#[derive(Debug, Clone, Serialize)]
pub struct CrossValidation {
    /// Sum of recalls of each fold, in percent.
    pub fold_rsum: Vec<f64>,
    /// Their mean.
    pub rsum: f64,
    /// Their standard deviation (over n).
    pub rsum_sd: f64,
    /// Mean recall@1 by direction.
    #[serde(rename = "recall@1")]
    pub recall_at_1: BTreeMap<String, f64>,
}

/// How to compare.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// `key=a,b` or `key=[...]` assignments; every combination is a variant.
    pub swaps: Vec<String>,
    /// Folds (row mod n); 0 leaves cross-validation out.
    pub folds: usize,
    /// Leave out rows with an item that cannot be read.
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

fn measure(
    plan: &Plan,
    swapped: &[(String, String)],
    options: &CompareOptions,
    bench: &Workbench,
) -> Result<Vec<Variant>, Error> {
    let (clouds, rows, _) = embed_all(plan, bench, options.skip_bad)?;
    let clock = Instant::now();
    let test = score(plan, &clouds, &rows, bench)?;
    let fit_seconds = clock.elapsed().as_secs_f64();
    let mut by_fold: Vec<[Control; 2]> = Vec::new();
    let used: Vec<usize> = {
        let mut used: Vec<usize> = rows.train.iter().chain(&rows.test).copied().collect();
        used.sort_unstable();
        used
    };
    let folds = match options.folds {
        0 => Vec::new(),
        count => folds::modulo(used.len(), count)
            .map_err(|e| Error::input("chiasm::compare::folds", e.to_string(), "choose another --folds"))?,
    };
    for fold in folds {
        let pick = |rows: &[usize]| rows.iter().map(|&r| used[r]).collect::<Vec<_>>();
        let rows_of = Rows { train: pick(&fold.train), test: pick(&fold.test) };
        let same = rows_of.test == rows.test && rows_of.train == rows.train;
        by_fold.push(if same { test.clone() } else { score(plan, &clouds, &rows_of, bench)? });
    }
    let variant = |which: usize, score| Variant {
        swapped: swapped.iter().cloned().collect(),
        score,
        test: test[which].clone(),
        cross_validation: summary(by_fold.iter().map(|fold| &fold[which])),
        fit_seconds,
    };
    Ok(vec![variant(0, "plain"), variant(1, "bank")])
}

/// The held-out figures of one fit: plain, and with the bank.
fn score(plan: &Plan, clouds: &Clouds, rows: &Rows, bench: &Workbench) -> Result<[Control; 2], Error> {
    let (training, test) = (clouds.select(&rows.train), clouds.select(&rows.test));
    let aligner = &plan.recipe.align.plugin;
    let mut maps = Maps::fit(&clouds.names, &training, &clouds.blocks, aligner, &aligner.to_json(), bench)?;
    let plain = maps.apply(&test, bench)?.control()?;
    maps.add_bank(&training, plan.recipe.score.bank.unwrap_or_default(), bench)?;
    Ok([plain, maps.embed(&test, bench)?.control()?])
}

fn summary<'a>(folds: impl Iterator<Item = &'a Control>) -> Option<CrossValidation> {
    let folds: Vec<&Control> = folds.collect();
    let first = folds.first()?;
    let count = folds.len() as f64;
    let mean = |of: &dyn Fn(&Control) -> f64| folds.iter().map(|f| of(f)).sum::<f64>() / count;
    let rsum = mean(&|f| f.rsum);
    let recall_at_1 = (first.retrieval.keys())
        .map(|key| (key.clone(), mean(&|f| f.retrieval.get(key).map_or(f64::NAN, |d| d.recall_at_1))))
        .collect();
    let variance = mean(&|f| (f.rsum - rsum).powi(2));
    let fold_rsum = folds.iter().map(|f| f.rsum).collect();
    Some(CrossValidation { fold_rsum, rsum, rsum_sd: variance.sqrt(), recall_at_1 })
}
