//! Fitting a plan: embed the items, fit maps and fusion, and write a draft of the run folder with the merged
//! model. Then open the draft as a run, compare the merged model with its parts, measure it, check its maps,
//! and move it into place.

pub mod embedded_data;
mod fusion;
pub mod learn;
pub mod maps;
mod merge;
mod robustness;
mod summed;
mod write;

use crate::{
    base::{digest::KeyHasher, environment::Environment, error::Error},
    catalog::raw::RawItem,
    plan::Plan,
    recipe::PluginRecipe,
    run::{
        check::{RunChecks, stored_failures},
        draft::DraftFolder,
        files::{self, FailedChecks},
        open::Run,
        prove::Proof,
        robustness_svg,
    },
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

/// Options of [`fit`].
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// The run folder to write.
    pub output: PathBuf,
    /// Skip items that cannot be read.
    pub skip_bad: bool,
    /// Fit even if the run folder exists and is up to date.
    pub force: bool,
}

/// The result of a fit.
#[derive(Debug)]
#[non_exhaustive]
pub struct FitReport {
    /// The run folder.
    pub run: PathBuf,
    /// False if the run folder was already up to date.
    pub fresh: bool,
    /// Duration of each stage.
    pub timings: StageTimings,
    /// Every check that failed, as `modality: check`. The run folder exists also in this case.
    pub failed: Vec<String>,
    /// Every check that could not be made, as `modality: check`; empty if the recipe allows that.
    pub unknown: Vec<String>,
}

/// The duration of each stage in seconds, in order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StageTimings(Vec<(String, f64)>);

impl StageTimings {
    /// Iterates over stages and seconds, in order.
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

/// Fits a plan and writes the run folder, which appears only once it is complete.
///
/// # Errors
/// If an item cannot be read and is not skipped, a plugin or the engine fails, the merged model does not
/// reproduce its parts, or a file cannot be written. No run folder is written then.
pub fn fit(plan: &Plan, env: &Environment, options: &FitOptions) -> Result<FitReport, Error> {
    let key = key(plan, env, options.skip_bad)?;
    if !options.force && is_up_to_date(&options.output, &key) {
        let FailedChecks { failed, unknown } = stored_failures(&options.output)?;
        return Ok(FitReport {
            run: options.output.clone(),
            fresh: false,
            timings: StageTimings::default(),
            failed,
            unknown,
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
    timings.time("write", || write::parts(&draft, plan, &fit, &graph, spans(&training.training_items())?))?;
    manifest.outputs = draft.digests()?;
    draft.write_json(files::MANIFEST, &manifest)?;

    let run = Run::open(draft.folder(), env)?;
    let items = sample.items_to_prove(plan);
    let proof = timings.time("prove", || {
        let proof = run.prove(&plan.modalities, &items)?;
        Ok(Proof { batch_effects: sample.batch_effects(plan, env)?, ..proof })
    })?;
    let mut metrics = timings.time("measure", || run.measure())?;
    metrics.batch_effects = proof.batch_effects.clone();
    let control = timings.time("control", || {
        let shuffled = training.shuffled(plan.seed());
        let maps = shuffled.align(plan, &fit.learned.parameters, env)?;
        run.measure_heads(&plain_heads(&maps, &shuffled.items)?)
    })?;
    metrics.shuffled_pairs = Some(control);
    let checked = timings.time("check", || run.check(&[]))?;
    drop(run);
    if let Some(recipe) = &plan.recipe.robustness {
        let swept = timings
            .time("robustness", || robustness::sweep(plan, recipe, &sample, &training, &fit.model, env))?;
        draft.write_json(files::ROBUSTNESS, &swept)?;
        draft.write(files::ROBUSTNESS_PLOT, robustness_svg::plot(&swept))?;
    }
    write::results(&draft, &metrics, &proof, &checked)?;
    if !trainings.is_empty() {
        draft.write_json(files::TRAINING, &trainings)?;
    }
    draft.write_json(files::TIMINGS, &timings)?;
    (manifest.provider, manifest.frozen_weights) = (proof.provider.clone(), proof.frozen_weights.clone());
    write::card(&draft, &plan.recipe, &manifest, metrics, &graph)?;
    manifest.outputs = draft.digests()?;
    let RunChecks { failed, unknown, .. } = checked;
    Ok(FitReport { run: draft.finish(&manifest)?, fresh: true, timings, failed, unknown })
}

/// Returns whether the run folder exists, has this key, and all its files are unchanged.
fn is_up_to_date(run: &Path, key: &str) -> bool {
    files::read_manifest(run).is_ok_and(|manifest| manifest.key == key && manifest.verify(run).is_ok())
}

/// Returns the SHA-256 of everything that the run depends on.
///
/// # Errors
/// If the engine or a plugin is missing.
pub fn key(plan: &Plan, env: &Environment, skip_bad: bool) -> Result<String, Error> {
    let mut key = KeyHasher::default();
    key.add(env!("CARGO_PKG_VERSION")).add(&plan.recipe.text).add(plan.recipe.overrides.join("\n"));
    key.add(env.engine_identity()?).add(env.device_name()?);
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
        // Each file is read once, also if several rows share it.
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
    for (_, baseline) in plan.recipe.robustness.iter().flat_map(|robustness| &robustness.baselines) {
        key.add(env.host.aligner(&baseline.id.value)?.sha256());
    }
    key.add(plan.corruption.content());
    if let Some(shards) = &plan.shards {
        key.add(shards.content()?);
    }
    Ok(key.finish())
}
