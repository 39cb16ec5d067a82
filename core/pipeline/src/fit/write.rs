//! Writing the files of a run folder: first the parts that a run is opened from, then its results.

use super::{embedded_data::EmbeddedData, learn::FittedModel, merge::input_names};
use crate::{
    base::{
        digest::{hex, sha256_of},
        environment::Environment,
        error::Error,
        relative_path::RelativePath,
    },
    plan::Plan,
    recipe::Recipe,
    run::{
        check::RunChecks,
        draft::DraftFolder,
        evaluate::Metrics,
        files::{
            self, EncoderManifest, FUSION, LEARNED, LOCK, LearnedFile, MODEL, ModalityManifest, RecipeLock,
            RunManifest,
        },
        graphs::{FUSED, embeds},
        hugging_face::write_beside_cards,
        model_card::{CardFacts, CardModel, EncoderFacts, Plots, eval_results, model_card},
        pipeline_svg::{PipelineParts, draw},
        prove::Proof,
    },
};
use chiasm_graph::Graph;
use chiasm_host::EncoderSpec;
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf};

/// Writes the graphs, the aligner's parameters, the preprocessing and the recipe.
///
/// # Errors
/// If a file cannot be written.
pub fn parts(
    draft: &DraftFolder,
    plan: &Plan,
    fit: &FittedModel,
    merged: &Graph,
    spanned: BTreeMap<String, usize>,
) -> Result<(), Error> {
    save(draft, MODEL, merged)?;
    let mut inverses = BTreeMap::new();
    for (head, inverse) in fit.model.heads.iter().zip(&fit.model.inverses) {
        save(draft, &files::head(&head.modality), &head.graph)?;
        if let Some(inverse) = inverse {
            save(draft, &files::inverse(&head.modality), &inverse.graph)?;
            inverses.insert(head.modality.clone(), inverse.kind);
        }
    }
    if let Some(fusion) = &fit.model.fusion {
        save(draft, FUSION, fusion)?;
    }
    let learned = LearnedFile {
        plugin: plan.recipe.align.plugin.id.value.clone(),
        parameters: fit.learned.parameters.clone(),
        notes: fit.learned.notes.clone(),
        inverses,
        spanned,
        fusion: fit.fusion_notes.clone(),
    };
    draft.write_json(LEARNED, &learned)?;
    for modality in &plan.modalities {
        for encoder in &modality.encoders {
            let Some(found) = &encoder.card else { continue };
            let folder = folder(&modality.name, &encoder.name)?;
            let read = |path: &PathBuf| {
                chiasm_host::read_file(path, u64::MAX).map_err(|e| Error::io("read", path, e))
            };
            draft.write(&format!("{folder}/card.toml"), read(&found.card_path)?)?;
            for file in &encoder.files {
                draft.write(&format!("{folder}/{}", file.name), read(&file.path)?)?;
            }
        }
    }
    draft.write(files::RECIPE, &plan.recipe.text)?;
    draft.write_json(LOCK, &lock(&plan.recipe)?)
}

/// Writes the results of the opened run: metrics and checks.
///
/// # Errors
/// If a file cannot be written.
pub fn results(
    draft: &DraftFolder,
    metrics: &Metrics,
    proof: &Proof,
    checked: &RunChecks,
) -> Result<(), Error> {
    draft.write_json(files::METRICS, metrics)?;
    let RunChecks { verdict, failed, unknown, maps } = checked;
    let checks = json!({
        "verdict": verdict, "failed": failed, "unknown": unknown, "merged": proof, "maps": maps,
    });
    draft.write_json(files::CHECKS, &checks)
}

/// Writes the model card, its drawing and the file of results, from the other files of the draft.
///
/// # Errors
/// If a file cannot be read or written.
pub fn card(
    draft: &DraftFolder,
    recipe: &Recipe,
    manifest: &RunManifest,
    metrics: Metrics,
    merged: &Graph,
) -> Result<(), Error> {
    let mut facts = CardFacts::read(draft.folder(), manifest, recipe, metrics)?;
    let drawn = PipelineParts {
        encoders: facts.encoders.iter().map(EncoderFacts::drawn).collect(),
        aligner: &facts.learned.plugin,
        fusion: recipe.fuse.as_ref().map(|fuse| fuse.id.value.as_str()),
        outputs: &merged.outputs(),
    };
    draft.write(files::DRAWING, draw(&manifest.modalities, &drawn))?;
    write_beside_cards(&mut facts.encoders, draft.folder(), &merged.inputs(), draft, &|folder| {
        Some(folder.to_owned())
    })?;
    facts.plots = Plots { drawing: true, robustness: recipe.robustness.is_some() };
    let model = CardModel::of(draft.folder(), MODEL, merged)?;
    draft.write(files::README, model_card(&facts, &[model], None))?;
    draft.write(files::EVAL_RESULTS, eval_results(&facts, None))
}

/// Returns the manifest without the fields that are known only at the end: `provider`, `frozen_weights` and
/// `outputs`.
///
/// # Errors
/// If the data file cannot be read.
pub fn manifest(
    plan: &Plan,
    key: String,
    sample: &EmbeddedData,
    env: &Environment,
) -> Result<RunManifest, Error> {
    let mut input_names = input_names(plan).into_iter();
    let mut modalities = Vec::new();
    let mut inputs = BTreeMap::new();
    for modality in &plan.modalities {
        let mut encoders = Vec::new();
        for encoder in &modality.encoders {
            if let Some(found) = &encoder.card {
                inputs.insert(format!("model {}", encoder.name), found.card.sha256.clone());
            }
            encoders.push(EncoderManifest {
                name: encoder.name.clone(),
                folder: encoder.card.is_some().then(|| folder(&modality.name, &encoder.name)).transpose()?,
                adapter: encoder.adapter_id.clone(),
                adapter_sha256: encoder.adapter_sha256.clone(),
                identity: encoder.identity.clone(),
                pooled: encoder.pooled_dim,
                tokens: encoder.token_dim,
                inputs: input_names.next().unwrap_or_default().into_iter().collect(),
                spec: portable(&encoder.spec, encoder.card.is_some()),
            });
        }
        let output = embeds(&modality.name);
        modalities.push(ModalityManifest { name: modality.name.clone(), output, encoders });
    }
    if let Some(pairs) = &plan.recipe.data.pairs {
        let path = plan.recipe.path(&pairs.value);
        inputs.insert("pairs".to_owned(), sha256_of(&path).map_err(|e| Error::io("read", &path, e))?);
    }
    let names: Vec<&str> = plan.modalities.iter().map(|modality| modality.name.as_str()).collect();
    let aligner = &plan.recipe.align.plugin.id.value;
    inputs.insert(format!("plugin {aligner}"), hex(env.host.aligner(aligner)?.sha256()));
    if let Some(fuse) = &plan.recipe.fuse {
        let id = &fuse.id.value;
        inputs.insert(format!("plugin {id}"), hex(env.host.fusion(id)?.sha256()));
    }
    inputs.insert("engine".to_owned(), env.engine_digest()?);
    Ok(RunManifest {
        chiasm: env!("CARGO_PKG_VERSION").to_owned(),
        key,
        engine: env.engine_identity()?,
        seed: plan.seed(),
        modalities,
        anchor: plan.anchor().map(str::to_owned),
        emergent: sample.data.emergent(&names),
        fused: plan.recipe.fuse.as_ref().map(|_| FUSED.to_owned()),
        task: plan.data.task.as_ref().map(|plan| plan.task.clone()),
        rows: sample.counts(),
        inputs,
        ..RunManifest::default()
    })
}

fn save(draft: &DraftFolder, name: &str, graph: &Graph) -> Result<(), Error> {
    let path = draft.folder().join(name);
    let parent = path.parent().unwrap_or(draft.folder());
    std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    graph.save(&path).map_err(Error::graph(format!("writing {name}")))?;
    Ok(())
}

/// Returns the folder of an encoder's card and files, relative to the run folder.
fn folder(modality: &str, encoder: &str) -> Result<RelativePath, Error> {
    RelativePath::new(&format!("{}/{modality}/{encoder}", files::PREPROCESSING)).map_err(Error::Internal)
}

fn lock(recipe: &Recipe) -> Result<RecipeLock, Error> {
    let folder = std::path::absolute(&recipe.folder).map_err(|e| Error::io("find", &recipe.folder, e))?;
    Ok(RecipeLock { folder, overrides: recipe.overrides.clone() })
}

/// Returns the specification without an absolute folder, if the encoder has a card: its files are in the run
/// folder. Files of vectors are not.
fn portable(spec: &EncoderSpec, has_card: bool) -> EncoderSpec {
    let directory = if has_card { PathBuf::new() } else { spec.directory.clone() };
    EncoderSpec { directory, ..spec.clone() }
}
