//! Exporting a run: its model in another layout or operator set, with reduced-precision weights or with
//! shorter vectors. The outputs of the exported files are compared with those of the run.

mod characters;
mod compared;
mod hugging_face;
mod hugging_face_program;
mod layout;
mod layouts;
mod picture_graph;
mod pictures;
mod record;
mod sentence_transformers;
mod shortened;
mod text_graph;
mod texts;
mod triton;
mod wordpiece;

use super::{
    draft::DraftFolder,
    files::{
        EVAL_RESULTS, METRICS, MODEL, ModalityManifest, PREPROCESSING, README, RunManifest, read_in,
        read_json,
    },
    graphs::embeds,
    hugging_face::write_beside_cards,
    inspect::of_encoder,
    model_card::{CardFacts, CardModel, ExportFacts, eval_results, model_card},
    open::Run,
    port_form::with_forms,
};
use crate::base::{environment::Environment, error::Error, relative_path::RelativePath};
use chiasm_graph::{Graph, NEWEST_OPSET, OLDEST_OPSET, Port, Storage};
use compared::{Reference, compare};
use layout::{Consumer, ExportedModel, Layout};
pub use layouts::ExportLayout;
use pictures::with_pictures;
pub use record::{ExportReport, RECORD, ReducedPrecision, read_record};
pub use shortened::ShortenedVectors;
use shortened::{measure_shortened, shorten};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use texts::{TextHead, text_heads, with_texts};

/// What is exported, and how.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// The files.
    pub layout: ExportLayout,
    /// Store the weights in fewer bits.
    pub weights: Option<Storage>,
    /// Keep this many coordinates of the vectors of all modalities.
    pub dimensions: Option<usize>,
    /// Write the models in this version of the `ai.onnx` operator set.
    pub opset: Option<i64>,
    /// Put the preparation of items into the models.
    pub preprocessing: Option<PreparedItems>,
}

/// The items whose preparation becomes a part of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreparedItems {
    /// Pictures, and texts where operators can say their preparation.
    All,
    /// Pictures, which are resized and normalised.
    Pictures,
    /// Texts, which are tokenized by operators of onnxruntime-extensions.
    Texts,
}

/// Copies the model and the preprocessing of a run into `output`, which must not exist. With fewer bits for
/// the weights or fewer dimensions, the metrics are measured with and without.
///
/// # Errors
/// If `run` is not a run folder, `output` exists, a file cannot be written, or an exported file does not
/// reproduce the outputs of the run. With weights or dimensions, also if the data of the run cannot be read.
/// With dimensions, also if there are no more of them, or if the run has a fusion or a bank for its scores,
/// which take whole vectors. With an operator set, also if an operator cannot be written in it. With
/// preprocessing, also if no encoder reads such items, or their preparation cannot be written as operators. A
/// layout for another library refuses a run of which it cannot say anything.
pub fn export(
    run: &Path,
    options: ExportOptions,
    output: &Path,
    env: &Environment,
) -> Result<ExportReport, Error> {
    let ExportOptions { layout, weights, dimensions, opset, preprocessing } = options;
    check_output(output)?;
    check_opset(opset)?;
    check_preprocessing(preprocessing, layout)?;
    let layout = layout.layout();
    let opened = Run::open(run, env)?;
    let manifest = &opened.manifest;
    let shortened = dimensions.map(|kept| measure_shortened(&opened, kept, weights, env)).transpose()?;
    let fitted = fitted_model(&opened, dimensions)?;
    let stored =
        weights.map(|storage| fitted.stored_as(storage).with_metadata("chiasm.weights", storage.as_str()));
    let model = stored.as_ref().unwrap_or(&fitted);
    let bytes = [fitted.weight_bytes(), model.weight_bytes()];
    let narrow = weights.map(|storage| measure_narrow(&opened, storage, bytes, env)).transpose()?;
    let mut facts = CardFacts::read(run, manifest, opened.recipe(), read_json(run, METRICS)?)?;
    let mut models = layout.models(&facts, model)?;
    let texts = preprocessing.map(|items| prepared_inside(items, &mut models, &mut facts)).transpose()?;
    let (heads, not_inside) = texts.unwrap_or_default();
    opset.map_or(Ok(()), |opset| models.iter_mut().try_for_each(|made| in_opset(made, opset)))?;
    let draft = DraftFolder::begin(output)?;
    models.iter().try_for_each(|made| made.save(draft.folder()))?;
    let mut files: Vec<String> = models.iter().map(|made| made.file.clone()).collect();
    files.extend(copy_preprocessing(&facts, layout, &draft)?);
    let place = |folder: &str| layout.place(folder);
    write_beside_cards(&mut facts.encoders, run, &fitted.inputs(), &draft, &place)?;
    let mut consumer = layout.write(&mut facts, &models, &draft)?;
    consumer.left_out.extend(not_inside);
    files.extend(consumer.files.iter().cloned());
    let reference = |made: &ExportedModel| {
        let with_ports = |graph: &Graph| with_forms(graph, &made.forms);
        Ok(Reference { fitted: with_ports(&fitted)?, stored: stored.as_ref().map(with_ports).transpose()? })
    };
    let differences = compare(&models, &reference, draft.folder(), env)?;
    // The engine does not have the operators of texts, so the rest is compared before they are there.
    with_texts(&mut models, &heads, draft.folder())?;
    files.extend([RECORD, README, EVAL_RESULTS].map(ToOwned::to_owned));
    let mut exported = ExportReport {
        files,
        differences,
        opset: opset.unwrap_or(model.opset()),
        narrow,
        shortened,
        ..record(&facts, &models, &consumer)?
    };
    if let Some(after) = exported.reduced() {
        exported.rsum = [after.rsum, after.rsum_max];
    }
    write_card(&facts, &exported, &draft, &models, &consumer)?;
    exported.digests = draft.digests()?;
    draft.write_json(RECORD, &exported)?;
    draft.place()?;
    Ok(exported)
}

/// Returns what an export says of its models and of the run, without what was measured of them.
///
/// # Errors
/// If a model's file lies outside the folder.
fn record(
    facts: &CardFacts<'_>,
    models: &[ExportedModel],
    consumer: &Consumer,
) -> Result<ExportReport, Error> {
    let manifest = facts.manifest;
    let ports: Vec<Port> = models.iter().flat_map(|made| made.graph.inputs()).collect();
    let file = |made: &ExportedModel| RelativePath::new(&made.file).map_err(Error::Internal);
    Ok(ExportReport {
        what: consumer.what.clone(),
        models: models.iter().map(file).collect::<Result<_, _>>()?,
        modalities: described(manifest, facts),
        encoders: facts.encoders.iter().map(|encoder| of_encoder(encoder, &ports)).collect(),
        aligner: facts.learned.plugin.clone(),
        fusion: facts.recipe.fuse.as_ref().map(|fuse| fuse.id.value.clone()),
        chiasm: manifest.chiasm.clone(),
        engine: manifest.engine.clone(),
        seed: manifest.seed,
        run_key: manifest.key.clone(),
        rsum: [facts.metrics.rsum, facts.metrics.rsum_max],
        left_out: consumer.left_out.clone(),
        ..ExportReport::default()
    })
}

/// Returns the merged model, with the first `dimensions` coordinates of its vectors if they are fewer.
fn fitted_model(run: &Run<'_>, dimensions: Option<usize>) -> Result<Graph, Error> {
    let model = run.part(MODEL)?;
    let Some(kept) = dimensions else { return Ok(model) };
    let names: Vec<String> = run.manifest.modalities.iter().map(|modality| embeds(&modality.name)).collect();
    shorten(&model, &names, kept)
}

/// Measures a run with the weights as fitted and with reduced precision; `bytes` are their sizes.
fn measure_narrow(
    run: &Run<'_>,
    storage: Storage,
    bytes: [u64; 2],
    env: &Environment,
) -> Result<ReducedPrecision, Error> {
    let after = Run::open_stored(run.folder(), Some(storage), env)?.measure()?;
    Ok(ReducedPrecision { weights: storage.as_str().to_owned(), bytes, before: run.measure()?, after })
}

/// Copies the files of the preprocessing to their places in the layout. Returns their folders.
fn copy_preprocessing(
    facts: &CardFacts<'_>,
    layout: &dyn Layout,
    draft: &DraftFolder,
) -> Result<BTreeSet<String>, Error> {
    // A run with only files of vectors has no preprocessing. Only files that were verified are copied.
    let prefix = format!("{PREPROCESSING}/");
    let mut folders = BTreeSet::new();
    let names = facts.manifest.outputs.keys().map(|name| name.as_str());
    for name in names.filter(|name| name.starts_with(&prefix) && !is_done_in_model(facts, name)) {
        let Some(place) = layout.place(name) else { continue };
        draft.write(&place, read_in(facts.folder, name, u64::MAX)?)?;
        let until = place.find(&prefix).map_or(place.len(), |at| at + PREPROCESSING.len());
        folders.insert(place[..until].to_owned());
    }
    Ok(folders)
}

/// Returns whether a file says for another library what the exported model does itself.
fn is_done_in_model(facts: &CardFacts<'_>, name: &str) -> bool {
    facts.encoders.iter().filter(|encoder| encoder.raw).any(|encoder| {
        let file = encoder.folder.as_deref().and_then(|folder| name.strip_prefix(folder)?.strip_prefix('/'));
        matches!(file, Some("preprocessor_config.json" | "tokenizer_config.json"))
    })
}

/// Returns the modalities with the names of the ports and the folders that they have in the export.
fn described(manifest: &RunManifest, facts: &CardFacts<'_>) -> Vec<ModalityManifest> {
    let mut modalities = manifest.modalities.clone();
    let encoders = modalities.iter_mut().flat_map(|modality| &mut modality.encoders);
    for (encoder, there) in encoders.zip(&facts.encoders) {
        encoder.inputs.clone_from(&there.inputs);
        encoder.folder = there.folder.as_deref().and_then(|folder| RelativePath::new(folder).ok());
    }
    modalities
}

/// Puts the preparation of pictures into the models. Returns that of texts, and why there is none, by
/// modality.
///
/// # Errors
/// If what is asked for cannot be written as operators, or no encoder reads such items.
fn prepared_inside(
    items: PreparedItems,
    models: &mut [ExportedModel],
    facts: &mut CardFacts<'_>,
) -> Result<(Vec<TextHead>, BTreeMap<String, String>), Error> {
    let pictures = facts.encoders.iter().any(|encoder| encoder.adapter == "image");
    if items != PreparedItems::Texts && (pictures || items == PreparedItems::Pictures) {
        with_pictures(models, facts)?;
    }
    if items == PreparedItems::Pictures {
        return Ok(Default::default());
    }
    let (heads, left_out) = text_heads(models, facts);
    let refused = left_out.iter().find(|_| items == PreparedItems::Texts || (heads.is_empty() && !pictures));
    let message = match refused {
        Some((modality, reason)) => format!("--with-preprocessing: encoders.{modality}: {reason}"),
        None if heads.is_empty() && (items == PreparedItems::Texts || !pictures) => {
            let kind = if items == PreparedItems::Texts { "texts" } else { "pictures or texts" };
            format!("--with-preprocessing: no encoder of the run reads {kind}")
        }
        None => {
            let said = |(modality, reason): (String, String)| {
                (modality, format!("the model takes tokens: {reason}"))
            };
            return Ok((heads, left_out.into_iter().map(said).collect()));
        }
    };
    Err(Error::input("chiasm::export::preprocessing", message, "leave --with-preprocessing out"))
}

/// Returns an error if items are to be prepared in a layout that says how others prepare them.
fn check_preprocessing(items: Option<PreparedItems>, layout: ExportLayout) -> Result<(), Error> {
    if items.is_none() || matches!(layout, ExportLayout::Merged | ExportLayout::Towers) {
        return Ok(());
    }
    let message = "--with-preprocessing: the files of this layout say how items are prepared";
    Err(Error::input("chiasm::export::preprocessing", message, "use --layout onnx or towers"))
}

/// Returns an error for a folder that exists.
fn check_output(output: &Path) -> Result<(), Error> {
    if !output.exists() {
        return Ok(());
    }
    let message = format!("{} exists", output.display());
    Err(Error::input("chiasm::export::exists", message, "choose another folder for -o"))
}

/// Returns an error for an operator set that is not known.
fn check_opset(opset: Option<i64>) -> Result<(), Error> {
    if opset.is_none_or(|opset| (OLDEST_OPSET..=NEWEST_OPSET).contains(&opset)) {
        return Ok(());
    }
    let message = format!("--opset: expected {OLDEST_OPSET} to {NEWEST_OPSET}, got {}", opset.unwrap_or(0));
    Err(Error::input("chiasm::export::opset", message, "leave it out to keep that of the run"))
}

/// Writes a model in another operator set.
fn in_opset(made: &mut ExportedModel, opset: i64) -> Result<(), Error> {
    made.graph = made.graph.in_opset(opset).map_err(|error| {
        let message = format!("--opset {opset}: {}: {error}", made.file);
        Error::input("chiasm::export::opset", message, "choose another operator set, or leave --opset out")
    })?;
    Ok(())
}

/// Writes the model card of an export, and its results.
///
/// # Errors
/// If a file of the run or the export cannot be read, or a file cannot be written.
fn write_card(
    facts: &CardFacts<'_>,
    exported: &ExportReport,
    draft: &DraftFolder,
    models: &[ExportedModel],
    consumer: &Consumer,
) -> Result<(), Error> {
    let models = models.iter().map(|made| CardModel::of(draft.folder(), &made.file, &made.graph));
    let models: Vec<CardModel> = models.collect::<Result<_, _>>()?;
    let narrow = exported.narrow.as_ref();
    let narrow =
        narrow.map(|narrow| (format!("Its weights are stored as {}", narrow.weights), &narrow.after));
    let shortened = exported.shortened.as_ref().map(|shortened| {
        let [all, kept] = shortened.dimensions;
        (format!("Its vectors are the first {kept} of {all} coordinates, of length one"), &shortened.after)
    });
    let difference = exported.differences.values().copied().fold(0.0, f32::max);
    let export = ExportFacts {
        what: &consumer.what,
        program: consumer.program.as_deref(),
        reduced: narrow.or(shortened),
        difference,
        opset: exported.opset,
    };
    draft.write(README, model_card(facts, &models, Some(&export)))?;
    draft.write(EVAL_RESULTS, eval_results(facts, Some(&export)))
}
