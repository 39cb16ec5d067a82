//! Measuring what is compared: the fits of the variants, and the queries of the runs.

use super::{
    fits::{FittedRows, VariantFits},
    folds::{retrieval_over_folds, task_over_folds},
    options::CompareOptions,
    report::{ComparisonRow, MeasuredRow, VariantTaskReport},
    stored::{FitScores, ScoreStore},
    subjects::{RunSubject, Variant},
};
use crate::{
    base::{environment::Environment, error::Error},
    run::{
        evaluate::{RetrievalSummary, TaskRows},
        task_score::TaskMetrics,
    },
};
use std::collections::BTreeMap;

/// A fit that is done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FitProgress<'a> {
    /// The number of fits that are done, and of all.
    pub done: [usize; 2],
    /// The variant, and the rows that it was fitted on.
    pub name: String,
    /// Retrieval, scored as the recipe asks.
    pub retrieval: &'a RetrievalSummary,
    /// The scores of the fusion.
    pub task: Option<&'a TaskMetrics>,
    /// Whether the result is that of an earlier fit.
    pub stored: bool,
}

/// The numbers of test rows that are the same in all runs and variants, by what identifies them.
#[derive(Default)]
pub struct RowNumbers(BTreeMap<String, usize>);

impl RowNumbers {
    /// Returns a function from the rows of some data to these numbers.
    fn of<'a>(&'a mut self, identities: &'a BTreeMap<usize, String>) -> impl FnMut(usize) -> usize + 'a {
        |row| {
            let next = self.0.len();
            let identity = identities.get(&row).cloned().unwrap_or_else(|| format!("row {row}"));
            *self.0.entry(identity).or_insert(next)
        }
    }
}

/// Returns the same contributions with other numbers for the rows.
fn renumbered(rows: &TaskRows, number: &mut dyn FnMut(usize) -> usize) -> TaskRows {
    rows.iter().map(|(row, contribution)| (number(*row), *contribution)).collect()
}

/// Counts the fits that are done.
pub struct Progress<'a> {
    done: [usize; 2],
    ready: &'a mut dyn FnMut(&FitProgress<'_>),
    env: &'a Environment,
}

impl<'a> Progress<'a> {
    /// Begins to count so many fits. `ready` is called for each that is done.
    pub fn new(fits: usize, ready: &'a mut dyn FnMut(&FitProgress<'_>), env: &'a Environment) -> Self {
        Self { done: [0, fits], ready, env }
    }

    /// Returns the scores of a fit, and reports it.
    fn scores(
        &mut self,
        fits: &VariantFits<'_>,
        rows: FittedRows,
        named: (&str, usize),
    ) -> Result<FitScores, Error> {
        if self.env.reporter.stop_requested() {
            return Err(Error::Gate("the comparison was stopped; finished fits are kept".to_owned()));
        }
        let (scores, stored) = fits.scores(rows)?;
        self.done[0] += 1;
        let (name, asked) = named;
        let (retrieval, task) = (&scores.retrieval[asked], scores.task.as_ref());
        (self.ready)(&FitProgress { done: self.done, name: name.to_owned(), retrieval, task, stored });
        Ok(scores)
    }
}

/// Measures a run on its test rows.
///
/// # Errors
/// If the run or its data cannot be read.
pub fn measured_run(
    run: &RunSubject,
    env: &Environment,
    rows: &mut RowNumbers,
) -> Result<MeasuredRow, Error> {
    let found = run.measured(env)?;
    let queries = found.queries.renumbered(&mut rows.of(&found.rows));
    let task_seeds = vec![renumbered(&found.task_rows, &mut rows.of(&found.rows))];
    Ok(MeasuredRow { row: found.row, seeds: vec![queries], task_seeds, all_pairs: 0, fewer: Vec::new() })
}

/// The scores of all fits of a variant.
struct VariantScores {
    /// On all pairs, for each seed.
    whole: Vec<FitScores>,
    /// On each smaller number of pairs, for each seed.
    fewer: Vec<Vec<FitScores>>,
    /// The folds, with the first seed.
    by_fold: Vec<FitScores>,
}

/// Fits a variant with every seed, on all pairs, on fewer, and over the folds.
fn scores(
    variant: &Variant,
    options: &CompareOptions,
    store: &ScoreStore,
    progress: &mut Progress<'_>,
) -> Result<VariantScores, Error> {
    let asked = usize::from(variant.asks_for_bank());
    let fewer = vec![Vec::new(); options.pairs.len()];
    let mut found = VariantScores { whole: Vec::new(), fewer, by_fold: Vec::new() };
    for (number, plan) in variant.plans.iter().enumerate() {
        let fits = VariantFits::new(plan, options.skip_bad, store, progress.env)?;
        let seed = if variant.plans.len() > 1 { format!(", seed {}", plan.seed()) } else { String::new() };
        let name = |what: String| format!("{}{seed}{what}", variant.name);
        if number == 0 {
            fits.check_pairs(&options.pairs)?;
        }
        found.whole.push(progress.scores(&fits, FittedRows::All, (&name(String::new()), asked))?);
        for (count, into) in options.pairs.iter().zip(&mut found.fewer) {
            let name = name(format!(", {count} pairs"));
            into.push(progress.scores(&fits, FittedRows::Pairs(*count), (&name, asked))?);
        }
        for at in (0..options.folds).filter(|_| number == 0) {
            let name = name(format!(", fold {} of {}", at + 1, options.folds));
            let rows = FittedRows::Fold { at, of: options.folds };
            found.by_fold.push(progress.scores(&fits, rows, (&name, asked))?);
        }
    }
    Ok(found)
}

/// Fits a variant, and returns its row without the hubness bank and that with it.
///
/// # Errors
/// If an item cannot be read, or the aligner, the fusion or the engine fails.
pub fn measured_variant(
    variant: &Variant,
    options: &CompareOptions,
    store: &ScoreStore,
    numbers: &mut RowNumbers,
    progress: &mut Progress<'_>,
) -> Result<Vec<MeasuredRow>, Error> {
    let asked = usize::from(variant.asks_for_bank());
    let VariantScores { whole, fewer, by_fold } = scores(variant, options, store, progress)?;
    let Some(first) = whole.first() else { return Ok(Vec::new()) };
    let of_folds: Vec<&TaskMetrics> = by_fold.iter().filter_map(|fold| fold.task.as_ref()).collect();
    let task =
        first.task.as_ref().map(|test| VariantTaskReport::of(test.clone(), task_over_folds(&of_folds)));
    let mut row = |which: usize| {
        let mut seeds = |all: &[FitScores]| -> Vec<_> {
            let own = |scores: &FitScores| scores.queries[which].renumbered(&mut numbers.of(&scores.rows));
            all.iter().map(own).collect()
        };
        let fewer = options.pairs.iter().copied().zip(fewer.iter().map(|scores| seeds(scores)));
        // The curve is that of the score that the recipe asks for.
        let fewer = fewer.filter(|_| which == asked).collect();
        MeasuredRow {
            row: ComparisonRow {
                recipe: Some(variant.recipe.clone()),
                set: variant.assignments(which),
                swapped: variant.swapped.clone(),
                asked: which == asked,
                test: first.retrieval[which].clone(),
                emergent: variant.emergent(),
                cross_validation: retrieval_over_folds(by_fold.iter().map(|fold| &fold.retrieval[which])),
                task: task.clone(),
                fit_seconds: Some(first.seconds),
                ..ComparisonRow::named(variant.row_name(which), ["plain", "bank"][which])
            },
            seeds: seeds(&whole),
            task_seeds: (whole.iter())
                .map(|scores| renumbered(&scores.task_rows, &mut numbers.of(&scores.rows)))
                .collect(),
            all_pairs: first.pairs,
            fewer,
        }
    };
    Ok(vec![row(0), row(1)])
}
