//! The fits of one variant of a recipe, on some of its rows, scored on others.

use super::stored::{FitScores, ScoreStore, score_key};
use crate::{
    base::{digest::KeyHasher, environment::Environment, error::Error},
    catalog::{dataset::Split, raw::RawItem},
    embed::{EmbeddedItems, rows_with},
    fit::{
        embedded_data::EmbeddedData,
        key,
        learn::learn_fusion,
        maps::{TrainingSet, banked_heads, plain_heads},
    },
    plan::{Plan, data::RecipeData},
    run::{
        evaluate::{retrieval_summary, score_task, task_rows},
        model::LearnedModel,
        query_scores::QueryScores,
        relevance::Relevance,
    },
};
use chiasm_geometry::folds as split;
use std::{cell::OnceCell, collections::BTreeMap, time::Instant};

/// The rows that a fit is fitted and scored on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FittedRows {
    /// The training rows, scored on the test rows.
    All,
    /// So many of the training rows with two or more modalities, scored on the test rows. No fusion is
    /// fitted.
    Pairs(usize),
    /// All rows but those of fold `at`, which are scored; a row belongs to the fold of its index modulo `of`.
    Fold { at: usize, of: usize },
}

/// The fits of one variant.
pub struct VariantFits<'a> {
    plan: &'a Plan,
    key: String,
    skip_bad: bool,
    env: &'a Environment,
    store: &'a ScoreStore,
    embedded: OnceCell<Embedded>,
}

/// The embedded items by split, and those of all rows.
struct Embedded {
    data: EmbeddedData,
    all: Vec<EmbeddedItems>,
    rows: SplitRows,
}

/// The rows of one fit, by split.
#[derive(Clone, PartialEq)]
struct SplitRows {
    train: Vec<usize>,
    validation: Vec<usize>,
    test: Vec<usize>,
}

impl<'a> VariantFits<'a> {
    /// Returns the fits of a plan. Nothing is embedded yet.
    ///
    /// # Errors
    /// If the engine or a plugin is missing.
    pub fn new(
        plan: &'a Plan,
        skip_bad: bool,
        store: &'a ScoreStore,
        env: &'a Environment,
    ) -> Result<Self, Error> {
        let key = key(plan, env, skip_bad)?;
        Ok(Self { plan, key, skip_bad, env, store, embedded: OnceCell::new() })
    }

    /// Fails if there are fewer training rows with two modalities than one of the numbers.
    ///
    /// # Errors
    /// Also if an item cannot be read.
    pub fn check_pairs(&self, counts: &[usize]) -> Result<(), Error> {
        if counts.is_empty() {
            return Ok(());
        }
        let training = self.embedded()?.data.training()?;
        counts.iter().try_for_each(|count| training.with_pairs(*count, self.plan.seed()).map(|_| ()))
    }

    /// Returns the scores of a fit, and whether they were stored by an earlier one.
    ///
    /// # Errors
    /// If an item cannot be read, or the aligner, the fusion or the engine fails.
    pub fn scores(&self, rows: FittedRows) -> Result<(FitScores, bool), Error> {
        let key = score_key(&self.key, &format!("{rows:?}"));
        if let Some(scores) = self.store.load(&key) {
            return Ok((scores, true));
        }
        self.store.store(&key, &self.fit(rows)?).map(|scores| (scores, false))
    }

    fn embedded(&self) -> Result<&Embedded, Error> {
        if let Some(embedded) = self.embedded.get() {
            return Ok(embedded);
        }
        let data = EmbeddedData::embed(self.plan, self.env, self.skip_bad)?;
        let splits = [Split::Train, Split::Validation, Split::Test];
        let of = |at: usize| splits.iter().map(|s| data.of(*s)[at].clone()).collect::<Vec<_>>();
        let all = (0..self.plan.modalities.len()).map(|at| EmbeddedItems::joined(&of(at)));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let [train, validation, test] = splits.map(|split| rows_with(data.of(split), 1));
        let embedded = Embedded { data, all, rows: SplitRows { train, validation, test } };
        Ok(self.embedded.get_or_init(|| embedded))
    }

    fn fit(&self, fitted: FittedRows) -> Result<FitScores, Error> {
        let (plan, env) = (self.plan, self.env);
        let Embedded { data: sample, all, rows } = self.embedded()?;
        let fold;
        let rows = match fitted {
            FittedRows::Fold { at, of } => {
                fold = fold_rows(rows, at, of)?;
                &fold
            }
            FittedRows::All | FittedRows::Pairs(_) => rows,
        };
        let clock = Instant::now();
        let select = |rows: &[usize]| all.iter().map(|items| items.select(rows)).collect::<Vec<_>>();
        let mut known: Vec<usize> = rows.train.iter().chain(&rows.validation).copied().collect();
        known.sort_unstable();
        let mut training = TrainingSet {
            items: select(&known),
            validation: rows.validation.clone(),
            shards: plan.shards.clone(),
        };
        let pairs = rows_with(&training.training_items(), 2).len();
        if let FittedRows::Pairs(count) = fitted {
            training = training.with_pairs(count, plan.seed())?;
        }
        let learned = training.align(plan, &plan.recipe.align.plugin.to_json(), env)?;
        let test = select(&rows.test);
        let relevance = Relevance::of(&sample.data, &plan.recipe);
        let (learned, mut model) = match fitted {
            FittedRows::Pairs(_) => {
                let (heads, inverses) = (plain_heads(&learned, &training.items)?, learned.inverses.clone());
                (learned, LearnedModel { heads, inverses, fusion: None, task: None })
            }
            FittedRows::All | FittedRows::Fold { .. } => {
                let fit = learn_fusion(plan, &sample.data, &training, learned, env)?;
                (fit.learned, fit.model)
            }
        };
        let asked = (rows.test.as_slice(), plan.seed());
        let task = score_task(&model, &plan.modalities, &sample.data, &test, asked, env)?;
        let aligned = model.align_all(&test, env)?;
        let bank = plan.recipe.score.bank.unwrap_or_default();
        model.heads = banked_heads(&learned, &model, &training.training_items(), bank, env)?;
        let banked = model.align_all(&test, env)?;
        let retrieval = [
            retrieval_summary(&aligned, |own| &own.z, &relevance)?,
            retrieval_summary(&banked, |own| &own.embeds, &relevance)?,
        ];
        let seconds = clock.elapsed().as_secs_f64();
        let (queries, task_rows, rows) = match fitted {
            FittedRows::Fold { .. } => Default::default(),
            _ => {
                let plain = QueryScores::of(&aligned, |own| &own.z, &relevance)?;
                let banked = QueryScores::of(&banked, |own| &own.embeds, &relevance)?;
                let names: Vec<&str> = plan.modalities.iter().map(|own| own.name.as_str()).collect();
                let task_rows = task.as_ref().map(|task| task_rows(task, &rows.test)).unwrap_or_default();
                ([plain, banked], task_rows, row_identities(&sample.data, &names, &rows.test))
            }
        };
        Ok(FitScores { retrieval, queries, task, task_rows, rows, pairs, seconds })
    }
}

/// Returns the rows of a fold. There are no validation rows.
fn fold_rows(rows: &SplitRows, at: usize, of: usize) -> Result<SplitRows, Error> {
    let mut all: Vec<usize> =
        [&rows.train, &rows.validation, &rows.test].into_iter().flatten().copied().collect();
    all.sort_unstable();
    let folds = split::interleaved_folds(all.len(), of)
        .map_err(|e| Error::input("chiasm::compare::folds", e.to_string(), "choose another --folds"))?;
    let fold = folds.get(at).ok_or_else(|| Error::Internal(format!("there is no fold {at} of {of}")))?;
    let pick = |places: &[usize]| places.iter().map(|&at| all[at]).collect::<Vec<_>>();
    Ok(SplitRows { train: pick(&fold.train), validation: Vec::new(), test: pick(&fold.test) })
}

/// Returns what identifies each of some rows, in this data and in other data: its id and its raw items, where
/// files count by their names, because another machine has them in another folder.
pub fn row_identities(data: &RecipeData, names: &[&str], rows: &[usize]) -> BTreeMap<usize, String> {
    let mut keys: BTreeMap<usize, KeyHasher> = BTreeMap::new();
    for row in rows {
        keys.entry(*row).or_default().add(&data.dataset.ids[*row]);
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|at| names[*at]);
    for at in order {
        let items = data.items[at].of_rows(rows);
        for (raw, row) in items.raw.iter().zip(&items.rows) {
            let shown = match raw {
                RawItem::Path(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                RawItem::Text(_) | RawItem::Row(_) => raw.content(),
            };
            keys.entry(*row).or_default().add(names[at]).add(shown);
        }
    }
    keys.into_iter().map(|(row, key)| (row, key.finish())).collect()
}
