//! Tuning: Bayesian optimisation of keys of a recipe on validation rows, and one comparison on the test rows.
//!
//! The first trial is the recipe's own setting. The best trial is chosen by the validation score alone; the
//! test rows are scored once, at the end, for the recipe's own setting and for the best one.

use super::{
    best_recipe::best_recipe,
    fits::{RecipeChanges, StudyFits, ValidationFold, reason, validation_folds},
    folder::{StudyFolder, TUNING},
    optimizer::Optimizer,
    space::Setting,
    trial::{TestComparison, Trial, TuneProgress, TuneReport},
    tuned_keys::TunedKeys,
};
use crate::{
    base::{environment::Environment, error::Error},
    catalog::dataset::Split,
    compare::significance::paired_difference,
    embed::rows_with,
    plan::Plan,
    run::query_scores::{StudyMetric, by_direction, overall},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// The file with a line for each trial.
const TRIALS: &str = "trials.jsonl";

/// Options of [`tune`].
#[derive(Debug, Clone)]
pub struct TuneOptions {
    /// The keys and their values: `align.tau=0.01..0.5:log,align.plugin=mlp|gotma`.
    pub over: Vec<String>,
    /// The number of trials, with the one of the recipe's own setting.
    pub trials: usize,
    /// The metric to maximise.
    pub metric: StudyMetric,
    /// The number of validation folds: 1 holds out the validation rows, or a fifth of the training rows if
    /// there are none; more hold out each of as many parts in turn.
    pub folds: usize,
    /// The folder of the study.
    pub output: PathBuf,
    /// Skip items that cannot be read.
    pub skip_bad: bool,
}

/// Searches for the setting of some keys of a recipe with the best score on validation rows. A tuning that
/// was interrupted continues where it was, and more trials continue a finished one. `ready` is called for
/// each trial when it is done.
///
/// ```no_run
/// use chiasm_pipeline::{Environment, SilentReporter, StudyMetric, TuneOptions, tune};
/// use std::{path::Path, sync::Arc};
///
/// # fn main() -> Result<(), chiasm_pipeline::Error> {
/// let env = Environment::discover(Arc::new(SilentReporter));
/// let options = TuneOptions {
///     over: vec!["align.tau=0.01..0.5:log".into(), "align.hidden=0..256".into()],
///     trials: 25,
///     metric: StudyMetric::Map,
///     folds: 3,
///     output: "tuned".into(),
///     skip_bad: false,
/// };
/// let report = tune(Path::new("recipe.toml"), &[], &options, &env, &mut |_| {})?;
/// println!("{:.3} instead of {:.3} on the test rows", report.test.best, report.test.own);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the recipe, a key or a value is not valid, the folder holds another study, or the fit of the recipe's
/// own setting fails. A trial that the aligner refuses is recorded with its reason.
pub fn tune(
    path: &Path,
    overrides: &[String],
    options: &TuneOptions,
    env: &Environment,
    ready: &mut dyn FnMut(&TuneProgress<'_>),
) -> Result<TuneReport, Error> {
    let fits = StudyFits::new(path, overrides, options.metric, options.skip_bad, env);
    let plan = fits.plan(&RecipeChanges::default())?;
    let tuned = TunedKeys::new(&options.over, &plan, env)?;
    for setting in tuned.space.extremes() {
        fits.plan(&tuned.changes(&setting))?;
    }
    let mut identity = fits.identity(&plan, &tuned.aligners.keys().cloned().collect())?;
    identity.insert("--over", json!(options.over));
    identity.insert("--folds", json!(options.folds));
    let (mut folder, known) = StudyFolder::open::<Trial>(&options.output, TRIALS, &identity)?;
    let data = fits.embed(&plan)?;
    let folds = validation_folds(&plan, &data, options.folds)?;
    let mut search = Search { fits: &fits, tuned: &tuned, plan: &plan, folds: &folds, trials: known };
    search.run(options.trials, &mut folder, ready)?;
    let Search { mut trials, .. } = search;
    // The sort is stable: of equal scores the earlier one is better, and the recipe's own setting best.
    let worth = |trial: &Trial| trial.score.unwrap_or(f64::NEG_INFINITY);
    trials.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
    let best = trials.first().map(|trial| trial.setting.clone()).unwrap_or_default();
    let changes = tuned.changes(&best);
    let text = best_recipe(&fits, &changes, &trials, &options.output)?;
    let report = TuneReport {
        metric: options.metric,
        validation_rows: folds.iter().map(scored_rows).sum(),
        test: compare_on_test_rows(&fits, &plan, &changes)?,
        best: tuned.effective(&best),
        best_recipe: folder.write("best.toml", &text)?,
        trials,
    };
    folder.write(TUNING, &serde_json::to_string_pretty(&report).unwrap_or_default())?;
    Ok(report)
}

/// The trials of a tuning.
struct Search<'a> {
    fits: &'a StudyFits<'a>,
    tuned: &'a TunedKeys,
    plan: &'a Plan,
    folds: &'a [ValidationFold],
    trials: Vec<Trial>,
}

impl Search<'_> {
    /// Runs the trials that are missing.
    fn run(
        &mut self,
        count: usize,
        folder: &mut StudyFolder,
        ready: &mut dyn FnMut(&TuneProgress<'_>),
    ) -> Result<(), Error> {
        let mut optimizer = Optimizer::new(self.tuned.space.axes(), self.plan.seed());
        self.trials.iter().for_each(|trial| self.record(&mut optimizer, trial));
        let (clock, before) = (Instant::now(), self.trials.len());
        while self.trials.len() < count {
            let number = self.trials.len();
            let setting = match number {
                0 => Setting::new(),
                _ => match optimizer.next_setting() {
                    Some(values) => self.tuned.space.setting(&values),
                    None => break, // every setting was tried
                },
            };
            let trial = folder.append(&self.trial(number, setting)?)?;
            self.record(&mut optimizer, &trial);
            self.trials.push(trial);
            let done = (self.trials.len() - before) as f64;
            let remaining = (count - self.trials.len()) as f64 * clock.elapsed().as_secs_f64() / done;
            ready(&TuneProgress {
                trial: &self.trials[number],
                best: self.best(),
                trials: count,
                remaining_seconds: remaining,
            });
        }
        Ok(())
    }

    fn best(&self) -> Option<&Trial> {
        let scored = self.trials.iter().filter(|trial| trial.score.is_some()).rev();
        scored.max_by(|a, b| a.score.unwrap_or(f64::NAN).total_cmp(&b.score.unwrap_or(f64::NAN)))
    }

    /// Passes a trial on to the optimiser. The recipe's own setting is left out if it is not in the space.
    fn record(&self, optimizer: &mut Optimizer, trial: &Trial) {
        let values = match trial.trial {
            0 => self.tuned.space.values(&self.tuned.own_setting(&self.plan.recipe)),
            _ => self.tuned.space.values(&trial.setting),
        };
        if let Some(values) = values {
            optimizer.record(values, trial.score);
        }
    }

    /// Fits a setting on every fold, and averages the scores.
    fn trial(&self, number: usize, setting: Setting) -> Result<Trial, Error> {
        let clock = Instant::now();
        let scored = self.score(&setting);
        let (score, error) = match scored {
            Ok(score) => (Some(score), None),
            Err(error) if number == 0 => return Err(error), // the recipe itself must fit
            Err(error) => (None, Some(reason(error)?)),
        };
        Ok(Trial { trial: number, setting, score, error, seconds: clock.elapsed().as_secs_f64() })
    }

    fn score(&self, setting: &Setting) -> Result<f64, Error> {
        let plan = self.fits.plan(&self.tuned.changes(setting))?;
        let data = self.fits.embed(&plan)?;
        let other: Vec<ValidationFold>;
        let folds = if self.tuned.space.keys().any(|key| key.starts_with("encoders.")) {
            other = validation_folds(&plan, &data, self.folds.len())?;
            &other
        } else {
            self.folds
        };
        let mut sum = 0.0;
        for fold in folds {
            sum += overall(&self.fits.fit(&plan, &data.data, &fold.training, &fold.held_out)?);
        }
        Ok(sum / folds.len() as f64)
    }
}

/// Fits the recipe and its best variant on all training rows, and scores both on the test rows.
fn compare_on_test_rows(
    fits: &StudyFits<'_>,
    plan: &Plan,
    changes: &RecipeChanges,
) -> Result<TestComparison, Error> {
    let scored = |plan: &Plan| {
        let data = fits.embed(plan)?;
        fits.fit(plan, &data.data, &data.training()?, data.of(Split::Test))
    };
    let own = scored(plan)?;
    let best = if changes.assignments.is_empty() { own.clone() } else { scored(&fits.plan(changes)?)? };
    let (before, after) = (by_direction(&own), by_direction(&best));
    let directions = before.into_iter().map(|(name, own)| {
        let best = after.get(&name).copied().unwrap_or(f64::NAN);
        (name, [own, best])
    });
    Ok(TestComparison {
        own: overall(&own),
        best: overall(&best),
        difference: paired_difference(&best, &own, plan.seed())?,
        directions: directions.collect(),
    })
}

/// Returns the number of rows that a fold scores.
fn scored_rows(fold: &ValidationFold) -> usize {
    rows_with(&fold.held_out, 2).len()
}
