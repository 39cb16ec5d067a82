//! Comparing variants of one recipe: each fitted on its training rows and cross-validated, all in one table.

use crate::{
    Error, Plan, Recipe, Workbench,
    evaluate::Control,
    fit::{Rows, embed_all},
    fuse::Fusion,
    maps::{Clouds, Maps},
    problem::Problem,
    score::TaskMetrics,
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
    /// How well the fusion answers its task, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskVariant>,
    /// Seconds to fit the test split's maps, parameter search included.
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

/// Means of a fusion's scores over the folds.
#[derive(Debug, Clone, Serialize)]
pub struct TaskFolds {
    /// The score of each fold.
    pub fold_scores: Vec<f64>,
    /// Their mean.
    pub score: f64,
    /// Its 95 % interval, from Student's t over the folds.
    pub interval: [f64; 2],
    /// Mean scores with a modality hidden.
    pub without: BTreeMap<String, f64>,
    /// Mean scores of what needs no fusion.
    pub baselines: BTreeMap<String, f64>,
    /// By how much the fusion is ahead of each of these, fold by fold.
    pub gains: BTreeMap<String, Gain>,
}

/// A mean difference over the folds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Gain {
    /// The mean.
    pub mean: f64,
    /// Its 95 % interval, from Student's t over the folds: the pairing takes out what makes folds differ.
    pub interval: [f64; 2],
}

impl Gain {
    /// Of one number a fold.
    fn of(folds: &[f64]) -> Self {
        let count = folds.len() as f64;
        let mean = folds.iter().sum::<f64>() / count;
        let variance = folds.iter().map(|fold| (fold - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let half = T.get(folds.len().saturating_sub(2)).unwrap_or(&1.96) * (variance / count).sqrt();
        Self { mean, interval: [mean - half, mean + half] }
    }
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
    let mut by_fold: Vec<Scores> = Vec::new();
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
    let task = test.task.as_ref().map(|test| TaskVariant {
        test: test.clone(),
        cross_validation: task_folds(
            &by_fold.iter().filter_map(|fold| fold.task.as_ref()).collect::<Vec<_>>(),
        ),
    });
    let variant = |which: usize, score| Variant {
        swapped: swapped.iter().cloned().collect(),
        score,
        test: test.retrieval[which].clone(),
        cross_validation: summary(by_fold.iter().map(|fold| &fold.retrieval[which])),
        task: task.clone(),
        fit_seconds,
    };
    Ok(vec![variant(0, "plain"), variant(1, "bank")])
}

/// The held-out figures of one fit.
#[derive(Clone)]
struct Scores {
    /// Plain, and with the bank.
    retrieval: [Control; 2],
    task: Option<TaskMetrics>,
}

fn score(plan: &Plan, clouds: &Clouds, rows: &Rows, bench: &Workbench) -> Result<Scores, Error> {
    let (training, test) = (clouds.select(&rows.train), clouds.select(&rows.test));
    let aligner = &plan.recipe.align.plugin;
    let mut maps = Maps::fit(&clouds.names, &training, &clouds.blocks, aligner, &aligner.to_json(), bench)?;
    let plain = maps.apply(&test, bench)?.control()?;
    let fusion = Fusion::fit(plan, clouds, &rows.train, &maps, bench)?;
    let task = match fusion {
        Some(fusion) => fusion.score(plan, clouds, &rows.test, &maps, bench)?,
        None => None,
    };
    maps.add_bank(&training, plan.recipe.score.bank.unwrap_or_default(), bench)?;
    Ok(Scores { retrieval: [plain, maps.embed(&test, bench)?.control()?], task })
}

/// Quantiles 0.975 of Student's t for 1, 2, ... degrees of freedom; beyond them the normal's is near enough.
const T: [f64; 19] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093,
];

fn task_folds(folds: &[&TaskMetrics]) -> Option<TaskFolds> {
    let first = folds.first()?;
    let scores: Vec<f64> = folds.iter().map(|fold| fold.score).collect();
    let each = |of: fn(&TaskMetrics) -> &BTreeMap<String, f64>| -> Vec<(String, Vec<f64>)> {
        let values =
            |key: &String| folds.iter().map(|fold| of(fold).get(key).copied().unwrap_or(f64::NAN)).collect();
        of(first).keys().map(|key| (key.clone(), values(key))).collect()
    };
    let (without, baselines) = (each(|fold| &fold.without), each(|fold| &fold.baselines));
    let means = |all: &[(String, Vec<f64>)]| {
        all.iter().map(|(key, values)| (key.clone(), Gain::of(values).mean)).collect()
    };
    let ahead = |values: &[f64]| {
        Gain::of(&scores.iter().zip(values).map(|(own, other)| own - other).collect::<Vec<_>>())
    };
    let gains = (without.iter().map(|(key, values)| (format!("without {key}"), ahead(values))))
        .chain(baselines.iter().map(|(key, values)| (key.clone(), ahead(values))))
        .collect();
    let Gain { mean, interval } = Gain::of(&scores);
    Some(TaskFolds {
        score: mean,
        interval,
        without: means(&without),
        baselines: means(&baselines),
        gains,
        fold_scores: scores,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The variance of 1 to 5 is (4 + 1 + 0 + 1 + 4) / 4 = 2.5, and t for four degrees of freedom 2.776.
    #[test]
    fn a_gain_has_students_interval() {
        let gain = Gain::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let half = 2.776 * (2.5_f64 / 5.0).sqrt();
        assert!((gain.mean - 3.0).abs() < 1e-12);
        assert!(
            (gain.interval[0] - (3.0 - half)).abs() < 1e-12
                && (gain.interval[1] - (3.0 + half)).abs() < 1e-12
        );
    }
}
