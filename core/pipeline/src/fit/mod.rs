//! The fit: embed, align, fuse, merge; then the run that was drafted is opened, and proves, measures and
//! checks itself.

pub mod fusion;
pub mod maps;
pub mod merge;
mod write;

use crate::{
    base::{digest::Key, error::Error, workbench::Workbench},
    catalog::{dataset::Split, raw::Raw},
    embed::{Embedded, Request, Skipped, embed_items, rows_with},
    plan::{Modality, Plan, data::Data, task::Truth},
    recipe::{PluginRecipe, encoders::ItemRule},
    run::{
        cases::{Cases, targets},
        check::{span, stored_failures},
        draft::Draft,
        files::{self, RowCounts},
        model::Model,
        open::Run,
    },
};
use chiasm_host::{Fused, Learned};
use maps::{Training, banked_heads, plain_heads};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::Instant,
};

/// How to fit.
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// The run folder to make.
    pub output: PathBuf,
    /// Leave out items that cannot be read.
    pub skip_bad: bool,
    /// Fit again even when the run is there and up to date.
    pub force: bool,
}

/// What a fit made.
#[derive(Debug)]
pub struct Fitted {
    /// The run folder.
    pub run: PathBuf,
    /// False when the run was there already, made of the same things.
    pub fresh: bool,
    /// Seconds of each stage.
    pub timings: Timings,
    /// Every check that failed, as `modality: check`; the run is there all the same, to be looked at.
    pub failed: Vec<String>,
}

/// Seconds of each stage, in order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Timings(Vec<(String, f64)>);

impl Timings {
    /// Stage and seconds, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(stage, seconds)| (stage.as_str(), *seconds))
    }

    fn time<T>(&mut self, stage: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let clock = Instant::now();
        let result = work()?;
        self.0.push((stage.to_owned(), clock.elapsed().as_secs_f64()));
        Ok(result)
    }
}

/// The items of a plan in vectors, and the data without the items that could not be read.
pub struct Sample {
    /// The data without the items that were skipped.
    pub data: Data,
    /// Items of every modality, by split.
    pub splits: BTreeMap<Split, Vec<Embedded>>,
    /// What was skipped.
    pub skipped: Vec<Skipped>,
}

/// What was learned.
pub struct Fit {
    /// The aligner's maps.
    pub learned: Learned,
    /// The heads and the fusion.
    pub model: Model,
    /// What the fusion notes of its fit.
    pub fusion_notes: Value,
}

/// Carries a plan out and returns the run folder; nothing is there until all of it is.
///
/// # Errors
/// When an item cannot be read (and is not to be skipped), a plugin or the engine fails, the merged model
/// does not reproduce its parts, or the disk refuses. No run folder is left behind then.
pub fn fit(plan: &Plan, bench: &Workbench, options: &FitOptions) -> Result<Fitted, Error> {
    let key = key(plan, bench, options.skip_bad)?;
    if !options.force && is_up_to_date(&options.output, &key) {
        let failed = stored_failures(&options.output)?;
        return Ok(Fitted { run: options.output.clone(), fresh: false, timings: Timings::default(), failed });
    }
    let draft = Draft::begin(&options.output)?;
    bench.trainings.take();
    let mut timings = Timings::default();
    let sample = timings.time("embed", || Sample::embed(plan, bench, options.skip_bad))?;
    let training = sample.training()?;
    let aligner = &plan.recipe.align.plugin;
    let learned = timings.time("align", || training.align(plan, &aligner.to_json(), bench))?;
    let fit = timings.time("fuse", || fuse(plan, &sample.data, &training, learned, bench))?;
    let trainings = bench.trainings.take();
    let graph = timings.time("merge", || merge::merge(plan, &fit.model, &fit.learned.parameters))?;
    let mut manifest = write::manifest(plan, key, &sample, bench)?;
    timings.time("write", || write::parts(&draft, plan, &fit, &graph, spans(&training.fitted())?))?;
    manifest.outputs = draft.hashes()?;
    draft.write_json(files::MANIFEST, &manifest)?;

    let run = Run::open(draft.folder(), bench)?;
    let items = sample.items_to_prove(plan);
    let proof = timings.time("prove", || run.prove(&plan.modalities, &items))?;
    let mut metrics = timings.time("measure", || run.measure())?;
    let control = timings.time("control", || {
        let shuffled = training.shuffled(plan.seed());
        let maps = shuffled.align(plan, &fit.learned.parameters, bench)?;
        run.measure_heads(&plain_heads(&maps, &shuffled.items)?)
    })?;
    metrics.shuffled_pairs = Some(control);
    let checked = timings.time("check", || run.check(&[]))?;
    drop(run);
    write::results(&draft, plan, &metrics, &proof, &checked)?;
    if !trainings.is_empty() {
        draft.write_json(files::TRAINING, &trainings)?;
    }
    draft.write_json(files::TIMINGS, &timings)?;
    manifest.provider = proof.provider.clone();
    manifest.frozen_weights = proof.frozen_weights.clone();
    manifest.outputs = draft.hashes()?;
    Ok(Fitted { run: draft.finish(&manifest)?, fresh: true, timings, failed: checked.failed })
}

/// Whether the run is there, was made of the same things, and has all its files as they were written.
fn is_up_to_date(run: &std::path::Path, key: &str) -> bool {
    files::read_manifest(run).is_ok_and(|manifest| manifest.key == key && manifest.verify(run).is_ok())
}

impl Sample {
    /// Embeds the items of every split.
    ///
    /// # Errors
    /// As [`Request::embed`], and when too few rows are left.
    pub fn embed(plan: &Plan, bench: &Workbench, skip_bad: bool) -> Result<Self, Error> {
        let data = &plan.data;
        let (mut splits, mut skipped) = (BTreeMap::new(), Vec::new());
        for split in [Split::Train, Split::Validation, Split::Test] {
            let request = Request {
                modalities: &plan.modalities,
                items: &data.items,
                ids: &data.dataset.ids,
                tokens: &|_| plan.reads_tokens,
                skip_bad,
                training: split != Split::Test,
            };
            let rows = data.dataset.rows_of(split);
            let (embedded, bad) = request.embed(&rows, bench)?;
            skipped.extend(bad);
            for target in unreadable_targets(data, &plan.modalities, &rows, skip_bad, bench)? {
                if !skipped.contains(&target) {
                    skipped.push(target);
                }
            }
            splits.insert(split, embedded);
        }
        for one in skipped.iter().take(10) {
            let Skipped { row, modality, reason, .. } = one;
            bench.reporter.note(&format!("skipped an item of {modality} in row {row:?}: {reason}"));
        }
        if !skipped.is_empty() {
            bench.reporter.note(&format!("skipped {} items (--skip-bad)", skipped.len()));
        }
        let names: Vec<&str> = plan.modalities.iter().map(|modality| modality.name.as_str()).collect();
        let left_out = |row: &str, modality: &str, item: usize| {
            skipped.iter().any(|s| s.item == item && s.row == row && s.modality == modality)
        };
        let data = if skipped.is_empty() { data.clone() } else { data.without(&names, &left_out) };
        let sample = Self { data, splits, skipped };
        sample.check_rows()?;
        Ok(sample)
    }

    fn check_rows(&self) -> Result<(), Error> {
        let joint = |split| rows_with(self.of(split), 2).len();
        let (train, test) = (joint(Split::Train), joint(Split::Test));
        if train < 2 || test < 1 {
            return Err(Error::input(
                "chiasm::data::split",
                format!("{train} train and {test} test rows hold two or more modalities that can be read"),
                "at least 2 and 1 are needed",
            ));
        }
        Ok(())
    }

    /// The items of a split.
    pub fn of(&self, split: Split) -> &[Embedded] {
        self.splits.get(&split).map_or(&[], Vec::as_slice)
    }

    /// What the maps are fitted on: the training rows, and the validation rows to choose by.
    ///
    /// # Errors
    /// When the splits cannot be joined, which would be a defect.
    pub fn training(&self) -> Result<Training, Error> {
        let (train, validation) = (self.of(Split::Train), self.of(Split::Validation));
        if validation.iter().all(|items| items.rows.is_empty()) {
            return Ok(Training { items: train.to_vec(), validation: Vec::new() });
        }
        let items = train.iter().zip(validation);
        let items =
            items.map(|(a, b)| Embedded::joined(&[a.clone(), b.clone()])).collect::<Result<_, _>>()?;
        Ok(Training { items, validation: rows_with(validation, 1) })
    }

    /// Raw items of every modality to prove the merged model on: held-out ones, or training ones where none is held out.
    fn items_to_prove(&self, plan: &Plan) -> Vec<Vec<Raw>> {
        let rows = self.data.dataset.rows_of(Split::Test);
        let of = |at: usize| {
            let held_out = self.data.items[at].of_rows(&rows).raw;
            if held_out.is_empty() { self.data.items[at].raw.clone() } else { held_out }
        };
        (0..plan.modalities.len()).map(of).collect()
    }

    /// Rows used, and items skipped.
    fn counts(&self) -> RowCounts {
        let rows = |split| rows_with(self.of(split), 1).len();
        RowCounts {
            train: rows(Split::Train),
            validation: rows(Split::Validation),
            test: rows(Split::Test),
            skipped: self.skipped.clone(),
        }
    }
}

/// The items to be found by a retrieval task that cannot be read.
fn unreadable_targets(
    data: &Data,
    modalities: &[Modality],
    rows: &[usize],
    skip_bad: bool,
    bench: &Workbench,
) -> Result<Vec<Skipped>, Error> {
    let Some(Truth::Others { modality, items }) = data.task.as_ref().map(|task| &task.truth) else {
        return Ok(Vec::new());
    };
    let Some(own) = modalities.iter().find(|own| own.name == *modality) else { return Ok(Vec::new()) };
    let items = items.of_rows(rows);
    let (_, bad) = embed_items(own, &items, ItemRule::Each, false, skip_bad, bench)?;
    let skipped = |(at, reason): (usize, String)| Skipped {
        row: data.dataset.ids[items.rows[at]].clone(),
        modality: modality.clone(),
        item: items.position[at],
        reason,
    };
    Ok(bad.into_iter().map(skipped).collect())
}

/// Heads with their bank, and the fusion on the training rows.
fn fuse(
    plan: &Plan,
    data: &Data,
    training: &Training,
    learned: Learned,
    bench: &Workbench,
) -> Result<Fit, Error> {
    let mut fit = learn_fusion(plan, data, training, learned, bench)?;
    if let Some(bank) = plan.recipe.score.bank {
        fit.model.heads = banked_heads(&fit.learned, &fit.model, &training.fitted(), bank, bench)?;
    }
    Ok(fit)
}

/// A model of learned maps without a bank, and the fusion on the training rows.
///
/// # Errors
/// When the fusion refuses or fails.
pub fn learn_fusion(
    plan: &Plan,
    data: &Data,
    training: &Training,
    learned: Learned,
    bench: &Workbench,
) -> Result<Fit, Error> {
    let heads = plain_heads(&learned, &training.items)?;
    let task = data.task.as_ref().map(|task| task.task.clone());
    let mut model = Model { heads, inverses: learned.inverses.clone(), fusion: None, task };
    let mut fusion_notes = Value::Null;
    if plan.recipe.fuse.is_some() {
        let mut rows = rows_with(&training.items, 1);
        rows.retain(|row| training.validation.binary_search(row).is_err());
        let mut found = targets(data, &plan.modalities, &model, &rows, bench)?;
        if let Some(targets) = found.as_mut().filter(|targets| targets.counts.contains(&0)) {
            // a row without anything to find has no target
            let counts = std::mem::take(&mut targets.counts);
            rows =
                rows.into_iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(row, _)| row).collect();
            targets.counts = counts.into_iter().filter(|count| *count > 0).collect();
        }
        let cases = Cases::of(&model, &training.items, &rows, found, bench)?;
        if let Some(Fused { graph, notes }) = fusion::fit(plan, &cases, bench)? {
            (model.fusion, fusion_notes) = (Some(graph), notes);
        }
    }
    Ok(Fit { learned, model, fusion_notes })
}

/// How many dimensions the training vectors of each modality span.
fn spans(items: &[Embedded]) -> Result<BTreeMap<String, usize>, Error> {
    items.iter().map(|items| Ok((items.name.clone(), span(&items.pooled)?))).collect()
}

/// sha256 over everything the run depends on.
fn key(plan: &Plan, bench: &Workbench, skip_bad: bool) -> Result<String, Error> {
    let mut key = Key::default();
    key.add(env!("CARGO_PKG_VERSION")).add(&plan.recipe.text).add(plan.recipe.overrides.join("\n"));
    key.add(bench.engine_identity()?).add(bench.device.as_str());
    key.add([u8::from(skip_bad)]).add(plan.seed().to_string());
    key.add(plan.recipe.folder.as_os_str().as_encoded_bytes());
    key.add(bench.host.aligner(&plan.recipe.align.plugin.id.value)?.sha256());
    if let Some(PluginRecipe { id, .. }) = &plan.recipe.fuse {
        key.add(bench.host.fusion(&id.value)?.sha256());
    }
    for (modality, items) in plan.modalities.iter().zip(&plan.data.items) {
        modality.encoders.iter().for_each(|e| {
            key.add(e.key().finish());
        });
        // rows may share an item: its file is read once
        let mut contents: HashMap<&Raw, String> = HashMap::new();
        for (raw, row) in items.raw.iter().zip(&items.rows) {
            key.add(row.to_string()).add(contents.entry(raw).or_insert_with(|| raw.content()));
        }
    }
    for (id, split) in plan.data.dataset.ids.iter().zip(&plan.data.dataset.splits) {
        key.add(id).add([*split as u8]);
    }
    for column in plan.recipe.values() {
        key.add(format!("{:?}", plan.data.dataset.values(&column.value)));
    }
    if let Some(task) = &plan.data.task {
        key.add(task.content());
    }
    Ok(key.finish())
}
