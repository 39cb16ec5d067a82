//! The fit: embed, align, fuse, merge; then the run that was drafted is opened, and proves, measures and
//! checks itself.

pub mod embedded_data;
mod fusion;
pub mod learn;
pub mod maps;
mod merge;
mod write;

use crate::{
    base::{digest::KeyHasher, environment::Environment, error::Error},
    catalog::raw::RawItem,
    plan::Plan,
    recipe::PluginRecipe,
    run::{check::stored_failures, draft::DraftFolder, files, open::Run},
};
use embedded_data::EmbeddedData;
use learn::{fuse, spans};
use maps::plain_heads;
use serde::Serialize;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Instant,
};

/// How to fit.
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// The run folder to make.
    pub output: PathBuf,
    /// Leave out items that cannot be read.
    pub skip_bad: bool,
    /// FittedModel again even when the run is there and up to date.
    pub force: bool,
}

/// What a fit made.
#[derive(Debug)]
pub struct FitReport {
    /// The run folder.
    pub run: PathBuf,
    /// False when the run was there already, made of the same things.
    pub fresh: bool,
    /// Seconds of each stage.
    pub timings: StageTimings,
    /// Every check that failed, as `modality: check`; the run is there all the same, to be looked at.
    pub failed: Vec<String>,
}

/// Seconds of each stage, in order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StageTimings(Vec<(String, f64)>);

impl StageTimings {
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

/// Carries a plan out and returns the run folder; nothing is there until all of it is.
///
/// # Errors
/// When an item cannot be read (and is not to be skipped), a plugin or the engine fails, the merged model
/// does not reproduce its parts, or the disk refuses. No run folder is left behind then.
pub fn fit(plan: &Plan, env: &Environment, options: &FitOptions) -> Result<FitReport, Error> {
    let key = key(plan, env, options.skip_bad)?;
    if !options.force && is_up_to_date(&options.output, &key) {
        let failed = stored_failures(&options.output)?;
        return Ok(FitReport {
            run: options.output.clone(),
            fresh: false,
            timings: StageTimings::default(),
            failed,
        });
    }
    let draft = DraftFolder::begin(&options.output)?;
    env.trainings.take();
    let mut timings = StageTimings::default();
    let sample = timings.time("embed", || EmbeddedData::embed(plan, env, options.skip_bad))?;
    let training = sample.training()?;
    let aligner = &plan.recipe.align.plugin;
    let learned = timings.time("align", || training.align(plan, &aligner.to_json(), env))?;
    let fit = timings.time("fuse", || fuse(plan, &sample.data, &training, learned, env))?;
    let trainings = env.trainings.take();
    let graph = timings.time("merge", || merge::merge(plan, &fit.model, &fit.learned.parameters))?;
    let mut manifest = write::manifest(plan, key, &sample, env)?;
    timings.time("write", || write::parts(&draft, plan, &fit, &graph, spans(&training.fitted())?))?;
    manifest.outputs = draft.hashes()?;
    draft.write_json(files::MANIFEST, &manifest)?;

    let run = Run::open(draft.folder(), env)?;
    let items = sample.items_to_prove(plan);
    let proof = timings.time("prove", || run.prove(&plan.modalities, &items))?;
    let mut metrics = timings.time("measure", || run.measure())?;
    let control = timings.time("control", || {
        let shuffled = training.shuffled(plan.seed());
        let maps = shuffled.align(plan, &fit.learned.parameters, env)?;
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
    Ok(FitReport { run: draft.finish(&manifest)?, fresh: true, timings, failed: checked.failed })
}

/// Whether the run is there, was made of the same things, and has all its files as they were written.
fn is_up_to_date(run: &Path, key: &str) -> bool {
    files::read_manifest(run).is_ok_and(|manifest| manifest.key == key && manifest.verify(run).is_ok())
}

/// sha256 over everything the run depends on.
fn key(plan: &Plan, env: &Environment, skip_bad: bool) -> Result<String, Error> {
    let mut key = KeyHasher::default();
    key.add(env!("CARGO_PKG_VERSION")).add(&plan.recipe.text).add(plan.recipe.overrides.join("\n"));
    key.add(env.engine_identity()?).add(env.device.as_str());
    key.add([u8::from(skip_bad)]).add(plan.seed().to_string());
    key.add(plan.recipe.folder.as_os_str().as_encoded_bytes());
    key.add(env.host.aligner(&plan.recipe.align.plugin.id.value)?.sha256());
    if let Some(PluginRecipe { id, .. }) = &plan.recipe.fuse {
        key.add(env.host.fusion(&id.value)?.sha256());
    }
    for (modality, items) in plan.modalities.iter().zip(&plan.data.items) {
        modality.encoders.iter().for_each(|e| {
            key.add(e.key().finish());
        });
        // rows may share an item: its file is read once
        let mut contents: HashMap<&RawItem, String> = HashMap::new();
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
