//! Comparing runs and variants of recipes: which is better, by how much, and whether that is more than
//! chance.
//!
//! A variant is fitted on its training rows, for each seed; finished fits are kept in the cache. All rows of
//! a comparison answer the same test queries, so that their differences are tested in pairs (see
//! [`significance`]). Variants can also be cross-validated, and fitted on fewer pairs.

pub mod best;
pub mod condition;
mod fits;
pub mod folder;
pub mod folds;
pub mod measured;
pub mod options;
pub mod report;
pub mod significance;
mod stored;
mod subjects;
mod task_significance;

use crate::base::{environment::Environment, error::Error};
use measured::{FitProgress, Progress, RowNumbers, measured_run, measured_variant};
use options::CompareOptions;
use report::{ComparisonReport, report};
use stored::ScoreStore;
use subjects::Subject;

/// Compares runs and variants of recipes. What is missing is fitted; `ready` is called for each fit when it
/// is done.
///
/// ```no_run
/// use chiasm_pipeline::{CompareOptions, Environment, SilentReporter, StudyMetric, compare};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), chiasm_pipeline::Error> {
/// let env = Environment::discover(Arc::new(SilentReporter));
/// let options = CompareOptions {
///     subjects: vec!["recipe.toml".into()],
///     overrides: Vec::new(),
///     swaps: vec!["align.plugin=procrustes,ridge".into()],
///     baseline: None,
///     metric: StudyMetric::RecallAt1,
///     pairs: Vec::new(),
///     seeds: 1,
///     folds: 0,
///     skip_bad: false,
/// };
/// let report = compare(&options, &env, &mut |_| {})?;
/// println!("{}", report.summary.join(" "));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a swap is invalid, the plan of a variant has problems, the baseline is missing, there is nothing to
/// compare, or a fit fails.
pub fn compare(
    options: &CompareOptions,
    env: &Environment,
    ready: &mut dyn FnMut(&FitProgress<'_>),
) -> Result<ComparisonReport, Error> {
    let subjects = subjects::subjects(options, env)?;
    let baseline = subjects::baseline(options, &subjects)?;
    subjects::check_names(&subjects)?;
    let store = ScoreStore::of(&env.cache)?;
    let of = |subject: &Subject| match subject {
        Subject::Run(_) => 0,
        Subject::Variant(variant) => variant.plans.len() * (1 + options.pairs.len()) + options.folds,
    };
    let mut progress = Progress::new(subjects.iter().map(of).sum(), ready, env);
    let mut measured = Vec::new();
    let mut rows = RowNumbers::default();
    for subject in &subjects {
        match subject {
            Subject::Run(run) => measured.push(measured_run(run, env, &mut rows)?),
            Subject::Variant(variant) => {
                measured.extend(measured_variant(variant, options, &store, &mut rows, &mut progress)?);
            }
        }
    }
    Ok(report(measured, baseline, options.metric))
}
