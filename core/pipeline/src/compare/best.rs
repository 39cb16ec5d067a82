//! The run of the best row of a comparison, with its merged model, its control and its checks.

use super::report::ComparisonReport;
use crate::{
    base::{environment::Environment, error::Error},
    fit::{FitOptions, fit},
    plan::Plan,
    recipe::Recipe,
};
use std::path::{Path, PathBuf};

/// The run folder in the folder of a comparison.
const BEST: &str = "best";

/// Fits the best row of a comparison as a run, in `best` beneath the folder of the comparison, unless it is a
/// run already. Whether a merge may be trusted depends on its checks, which a comparison does not make.
///
/// # Errors
/// As [`fit()`]. A check that fails is no error.
pub fn fit_best(
    report: &mut ComparisonReport,
    folder: &Path,
    skip_bad: bool,
    env: &Environment,
) -> Result<(), Error> {
    let best = report.rows.iter().find(|row| row.name == report.best);
    let Some((best, recipe)) = best.and_then(|row| Some((row, row.recipe.as_ref()?))) else { return Ok(()) };
    env.reporter.note(&format!("fitting {} as a run, with its checks", best.name));
    let plan = Plan::check(Recipe::load(recipe, &best.set)?, env)?;
    fit(&plan, env, &FitOptions { output: folder.join(BEST), skip_bad, force: false })?;
    report.best_run = Some(PathBuf::from(BEST));
    Ok(())
}
