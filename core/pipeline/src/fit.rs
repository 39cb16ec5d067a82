//! The fit, end to end: embed, align, bank, fuse, merge, prove, measure, write.

use crate::{
    Error, Plan, Workbench,
    cache::Key,
    checks::{self, Checked},
    compose::{self, FUSED, LOGITS, Named, Part, Tower},
    data::Split,
    embed::{self, content},
    encoder::Raw,
    evaluate::{Metrics, metrics},
    folder::{self, Draft, RowCounts},
    fuse::Fusion,
    maps::{Clouds, Maps, Others},
    prove,
    task::Truth,
    write,
};
use chiasm_geometry::random::Random;
use chiasm_graph::Graph;
use ndarray::Axis;
use serde::Serialize;
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
    /// Leave out rows with an item that cannot be read.
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

/// The merged model and the parts it was made of.
pub struct Merged {
    /// Encoders of each modality, joined: `<modality>/pooled`.
    pub encoders: [Graph; 2],
    /// The maps.
    pub maps: Maps,
    /// The fusion.
    pub fusion: Option<Fusion>,
    /// Everything in one graph.
    pub graph: Graph,
}

/// The usable rows of each split.
pub struct Rows {
    /// Rows to fit on.
    pub train: Vec<usize>,
    /// Rows held out.
    pub test: Vec<usize>,
}

/// Carries a plan out and returns the run folder; nothing is there until all of it is.
///
/// # Errors
/// When an item cannot be read (and is not to be skipped), a plugin or the engine fails, the merged model does not
/// reproduce its parts, or the disk refuses. No run folder is left behind then.
pub fn fit(plan: &Plan, bench: &Workbench, options: &FitOptions) -> Result<Fitted, Error> {
    let key = key(plan, bench, options)?;
    if !options.force && folder::read_manifest(&options.output).is_ok_and(|m| m.key == key) {
        let failed = checks::stored_failures(&options.output)?;
        return Ok(Fitted { run: options.output.clone(), fresh: false, timings: Timings::default(), failed });
    }
    let draft = Draft::begin(&options.output)?;
    bench.trainings.take();
    let mut timings = Timings::default();
    let (clouds, rows, counts) = timings.time("embed", || embed_all(plan, bench, options.skip_bad))?;
    let training = clouds.select(&rows.train);
    let maps = timings.time("align", || align(plan, &clouds, &training, bench))?;
    let fusion = timings.time("fuse", || Fusion::fit(plan, &clouds, &rows.train, &maps, bench))?;
    let trainings = bench.trainings.take();
    let merged = timings.time("merge", || merge(plan, maps, fusion))?;
    let proof = timings.time("prove", || prove::merged(plan, &merged, &rows.test, bench))?;
    let metrics = timings.time("measure", || measure(plan, &clouds, &rows, &merged, bench))?;
    let checked = timings.time("check", || check(plan, &clouds, &rows, &merged.maps, bench))?;
    let mut manifest = timings.time("write", || {
        write::artifacts(&draft, plan, &merged, &metrics, &proof, &checked)?;
        if !trainings.is_empty() {
            draft.write_json(folder::TRAINING, &trainings)?;
        }
        write::manifest(plan, &merged, &proof, key, counts, bench)
    })?;
    draft.write_json(folder::TIMINGS, &timings)?;
    manifest.outputs = draft.hashes()?;
    Ok(Fitted { run: draft.finish(&manifest)?, fresh: true, timings, failed: checked.failed() })
}

/// Embeds both modalities and keeps the rows that both have.
///
/// # Errors
/// As [`embed::modality`], and when too few rows are left.
pub fn embed_all(plan: &Plan, bench: &Workbench, skip_bad: bool) -> Result<(Clouds, Rows, RowCounts), Error> {
    let [source, target] = &plan.modalities;
    let first = embed::modality(source, plan.tokens, bench, skip_bad)?;
    let second = embed::modality(target, plan.tokens, bench, skip_bad)?;
    let mut bad: BTreeMap<usize, String> = first.bad.into_iter().chain(second.bad).collect();
    let others = others(plan, bench, skip_bad, &mut bad)?;
    for (row, reason) in bad.iter().take(10) {
        bench.reporter.note(&format!("skipped row {:?}: {reason}", plan.pairs.ids[*row]));
    }
    if !bad.is_empty() {
        bench.reporter.note(&format!("skipped {} of {} rows (--skip-bad)", bad.len(), plan.pairs.len()));
    }
    let usable = |split| -> Vec<usize> {
        plan.pairs.rows_of(split).into_iter().filter(|row| !bad.contains_key(row)).collect()
    };
    let rows = Rows { train: usable(Split::Train), test: usable(Split::Test) };
    if rows.train.len() < 2 || rows.test.is_empty() {
        return Err(Error::input(
            "chiasm::data::split",
            format!("{} train and {} test rows can be read", rows.train.len(), rows.test.len()),
            "at least 2 and 1 are needed",
        ));
    }
    let counts = RowCounts {
        train: rows.train.len(),
        test: rows.test.len(),
        skipped: bad.keys().map(|row| plan.pairs.ids[*row].clone()).collect(),
    };
    let clouds = Clouds {
        names: [source.name.clone(), target.name.clone()],
        sides: [first.pooled, second.pooled],
        blocks: [source.blocks(), target.blocks()],
        tokens: [first.tokens, second.tokens],
        others,
    };
    Ok((clouds, rows, counts))
}

/// For retrieval: the pooled vectors of what is to be found; rows that hold an unreadable one join the bad ones.
fn others(
    plan: &Plan,
    bench: &Workbench,
    skip_bad: bool,
    bad: &mut BTreeMap<usize, String>,
) -> Result<Option<Others>, Error> {
    let Some(Truth::Items { modality, items }) = plan.task.as_ref().map(|task| &task.truth) else {
        return Ok(None);
    };
    let side = plan.modalities.iter().position(|own| own.name == *modality).unwrap_or_default();
    let (pooled, unreadable) = embed::items(&plan.modalities[side], items, bench, skip_bad)?;
    bad.extend(unreadable);
    let starts = items.iter().scan(0, |end, items| {
        *end += items.len();
        Some(*end)
    });
    let starts = std::iter::once(0).chain(starts).collect();
    Ok(Some(Others { side, pooled, starts }))
}

fn align(
    plan: &Plan,
    clouds: &Clouds,
    training: &[ndarray::Array2<f32>; 2],
    bench: &Workbench,
) -> Result<Maps, Error> {
    let aligner = &plan.recipe.align.plugin;
    let mut maps = Maps::fit(&clouds.names, training, &clouds.blocks, aligner, &aligner.to_json(), bench)?;
    if let Some(bank) = plan.recipe.score.bank {
        maps.add_bank(training, bank, bench)?;
    }
    Ok(maps)
}

/// Joins everything into the merged model.
fn merge(plan: &Plan, maps: Maps, fusion: Option<Fusion>) -> Result<Merged, Error> {
    let mut inputs = input_names(plan).into_iter();
    let mut tower = |side: usize| {
        let modality = &plan.modalities[side];
        let parts: Vec<Part<'_>> = (modality.encoders.iter())
            .map(|e| Part { name: &e.name, graph: &e.graph, inputs: inputs.next().unwrap_or_default() })
            .collect();
        let tokens = fusion.as_ref().is_some_and(|fusion| fusion.reads_tokens(&modality.name));
        compose::encoders(&modality.name, &parts, tokens)
    };
    let encoders = [tower(0)?, tower(1)?];
    let tower = |(encoders, head): (&Graph, compose::Head<'_>)| {
        Ok(Tower { modality: head.modality.to_owned(), encoders: encoders.clone(), head: head.graph()? })
    };
    let towers: Vec<Tower> = encoders.iter().zip(maps.heads()).map(tower).collect::<Result<_, Error>>()?;
    let graph = compose::merged(&towers, fusion.as_ref().map(|fusion| &fusion.graph), false)?;
    let graph = describe(graph, plan, &maps);
    Ok(Merged { encoders, maps, fusion, graph })
}

/// For every encoder, source modality first: its input names, and what the merged model calls them.
pub fn input_names(plan: &Plan) -> Vec<Vec<(String, String)>> {
    let all: Vec<Named<'_>> = (plan.modalities.iter())
        .flat_map(|m| m.encoders.iter().map(move |encoder| (m, encoder)))
        .map(|(m, e)| Named {
            modality: &m.name,
            encoder: &e.name,
            inputs: e.graph.inputs().into_iter().map(|port| port.name).collect(),
        })
        .collect();
    compose::input_names(&all)
}

fn describe(graph: Graph, plan: &Plan, maps: &Maps) -> Graph {
    let encoders: Vec<&str> =
        plan.modalities.iter().flat_map(|m| &m.encoders).map(|e| e.name.as_str()).collect();
    let mut graph = graph
        .with_metadata("chiasm.version", env!("CARGO_PKG_VERSION"))
        .with_metadata("chiasm.encoders", encoders.join(","))
        .with_metadata("chiasm.aligner", &plan.recipe.align.plugin.id.value)
        .with_metadata("chiasm.aligner_parameters", maps.learned.parameters.to_string())
        .with_metadata("chiasm.score", "dot product of the two modalities' embeds");
    if plan.recipe.fuse.is_some() {
        graph = graph.with_metadata("chiasm.fused", FUSED);
    }
    if let Some(task) = plan.task.as_ref().map(|plan| &plan.task) {
        graph = graph.with_metadata("chiasm.task", task.kind.as_str());
        if task.has_logits() {
            let labels = serde_json::Value::from(task.labels.clone()).to_string();
            graph = graph.with_metadata("chiasm.answers", LOGITS).with_metadata("chiasm.labels", labels);
        }
    }
    graph
}

/// Metrics on the held-out rows, how well the task is answered, and the shuffled-pairs control: the same fit with the pairs broken.
fn measure(
    plan: &Plan,
    clouds: &Clouds,
    rows: &Rows,
    merged: &Merged,
    bench: &Workbench,
) -> Result<Metrics, Error> {
    let (test, maps) = (clouds.select(&rows.test), &merged.maps);
    let mut metrics = metrics(&maps.embed(&test, bench)?, &maps.apply(&test, bench)?, plan.recipe.seed)?;
    let [source, target] = clouds.select(&rows.train);
    let order = Random::new(plan.recipe.seed).permutation(rows.train.len());
    let shuffled = [source, target.select(Axis(0), &order)];
    let aligner = &plan.recipe.align.plugin;
    let control =
        Maps::fit(&clouds.names, &shuffled, &clouds.blocks, aligner, &maps.learned.parameters, bench)?;
    metrics.shuffled_pairs = Some(control.apply(&test, bench)?.control()?);
    if let Some(fusion) = &merged.fusion {
        metrics.task = fusion.score(plan, clouds, &rows.test, maps, bench)?;
    }
    Ok(metrics)
}

/// The maps' verdicts on the held-out rows.
fn check(
    plan: &Plan,
    clouds: &Clouds,
    rows: &Rows,
    maps: &Maps,
    bench: &Workbench,
) -> Result<Checked, Error> {
    let (test, train) = (clouds.select(&rows.test), clouds.select(&rows.train));
    let images = maps.apply(&test, bench)?;
    let spans = [checks::span(&train[0])?, checks::span(&train[1])?];
    let labels = plan.recipe.labels_of(&plan.pairs);
    let side = |side: usize, map| checks::Side {
        name: &clouds.names[side],
        map,
        rows: test[side].view(),
        images: images.sides[side].view(),
        inverse: None,
        labels: labels.as_ref().map(|labels| labels.of(&rows.test, &rows.train, train[side].view())),
        spanned: Some(spans[side]),
    };
    let mut sides = [side(0, &maps.learned.source), side(1, &maps.learned.target)];
    sides[0].inverse = maps.learned.inverse.as_ref().map(|inverse| (&inverse.graph, inverse.kind));
    checks::sides(&sides, &plan.recipe.check_settings(), bench)
}

/// sha256 over everything the run depends on.
fn key(plan: &Plan, bench: &Workbench, options: &FitOptions) -> Result<String, Error> {
    let mut key = Key::default();
    key.add(env!("CARGO_PKG_VERSION")).add(&plan.recipe.text).add(plan.recipe.overrides.join("\n"));
    key.add(bench.engine_identity()?).add(bench.device.as_str());
    key.add([u8::from(options.skip_bad)]).add(bench.seed.to_string());
    let align = bench.host.aligner(&plan.recipe.align.plugin.id.value)?;
    key.add(align.sha256());
    if let Some(fuse) = &plan.recipe.fuse {
        key.add(bench.host.fusion(&fuse.id.value)?.sha256());
    }
    for modality in &plan.modalities {
        modality.encoders.iter().for_each(|e| {
            key.add(e.key.finish());
        });
        // rows may share an item: its file is read once
        let mut contents: HashMap<&Raw, String> = HashMap::new();
        modality.items.iter().flatten().for_each(|raw| {
            key.add(contents.entry(raw).or_insert_with(|| content(raw)));
        });
    }
    for (id, split) in plan.pairs.ids.iter().zip(&plan.pairs.splits) {
        key.add(id).add([u8::from(*split == Split::Test)]);
    }
    if let Some(task) = &plan.task {
        key.add(task.content());
    }
    Ok(key.finish())
}
