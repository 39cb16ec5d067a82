//! Exporting a run: its model in another layout or operator set, with reduced-precision weights or with
//! shorter vectors. The outputs of the exported files are compared with those of the run.

mod compared;
mod form;
mod hugging_face;
mod layout;
mod layouts;
mod picture_graph;
mod pictures;
mod sentence_transformers;
mod shortened;
mod triton;

use super::{
    draft::DraftFolder,
    evaluate::Metrics,
    files::{
        EVAL_RESULTS, METRICS, MODEL, ModalityManifest, PREPROCESSING, README, RunManifest, read_in,
        read_json,
    },
    graphs::embeds,
    model_card::{CardFacts, CardModel, ExportFacts, eval_results, model_card},
    open::Run,
};
use crate::base::{environment::Environment, error::Error, relative_path::RelativePath};
use chiasm_graph::{Graph, NEWEST_OPSET, OLDEST_OPSET, Storage};
use compared::{Reference, compare};
use form::with_forms;
use layout::{Consumer, ExportedModel, Layout};
pub use layouts::ExportLayout;
use pictures::with_pictures;
use serde::Serialize;
pub use shortened::ShortenedVectors;
use shortened::{measure_shortened, shorten};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

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
    /// Put the resizing and normalisation of pictures into the models.
    pub pictures: bool,
}

/// The result of an export.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// The files by their names in the folder of the export, models first.
    pub files: Vec<String>,
    /// The modalities: how raw items are prepared, and the names of the ports.
    pub modalities: Vec<ModalityManifest>,
    /// The key of the exported run.
    pub run_key: String,
    /// The largest absolute difference of each output from `model.onnx`, or from the first coordinates of its
    /// vectors if they are shortened, on synthetic inputs.
    pub differences: BTreeMap<String, f32>,
    /// The version of the `ai.onnx` operator set of the models.
    pub opset: i64,
    /// What is left out of the export, by modality, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    /// The effect of reduced-precision weights, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub narrow: Option<ReducedPrecision>,
    /// The effect of shorter vectors, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortened: Option<ShortenedVectors>,
}

/// The effect of reduced-precision weights: their size, and the metrics on the test rows of the run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ReducedPrecision {
    /// `fp16` or `int8`.
    pub weights: &'static str,
    /// Size of the weights of the merged model in bytes, before and after.
    pub bytes: [u64; 2],
    /// Metrics with the weights as fitted.
    pub before: Metrics,
    /// Metrics with reduced-precision weights.
    pub after: Metrics,
}

/// The file in an export that holds its [`ExportReport`].
const RECORD: &str = "export.json";

/// Copies the model and the preprocessing of a run into `output`, which must not exist. With fewer bits for
/// the weights or fewer dimensions, the metrics are measured with and without.
///
/// # Errors
/// If `run` is not a run folder, `output` exists, a file cannot be written, or an exported file does not
/// reproduce the outputs of the run. With weights or dimensions, also if the data of the run cannot be read.
/// With dimensions, also if there are no more of them, or if the run has a fusion or a bank for its scores,
/// which take whole vectors. With an operator set, also if an operator cannot be written in it. With
/// pictures, also if no encoder reads any, or a kernel of their resizing cannot be written as operators. A
/// layout for another library refuses a run of which it cannot say anything.
pub fn export(
    run: &Path,
    options: ExportOptions,
    output: &Path,
    env: &Environment,
) -> Result<ExportReport, Error> {
    let ExportOptions { layout, weights, dimensions, opset, pictures } = options;
    if output.exists() {
        let message = format!("{} exists", output.display());
        return Err(Error::input("chiasm::export::exists", message, "choose another folder for -o"));
    }
    check_opset(opset)?;
    check_pictures(pictures, layout)?;
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
    if pictures {
        with_pictures(&mut models, &mut facts)?;
    }
    opset.map_or(Ok(()), |opset| models.iter_mut().try_for_each(|made| in_opset(made, opset)))?;
    let draft = DraftFolder::begin(output)?;
    let mut files: Vec<String> = Vec::new();
    for made in &models {
        made.save(draft.folder())?;
        files.push(made.file.clone());
    }
    files.extend(copy_preprocessing(run, manifest, layout, &draft)?);
    let consumer = layout.write(&mut facts, &models, &draft)?;
    files.extend(consumer.files.iter().cloned());
    let reference = |made: &ExportedModel| {
        let with_ports = |graph: &Graph| with_forms(graph, &made.forms);
        Ok(Reference { fitted: with_ports(&fitted)?, stored: stored.as_ref().map(with_ports).transpose()? })
    };
    let differences = compare(&models, &reference, draft.folder(), env)?;
    files.extend([RECORD, README, EVAL_RESULTS].map(ToOwned::to_owned));
    let exported = ExportReport {
        files,
        modalities: described(manifest, &facts),
        run_key: manifest.key.clone(),
        differences,
        opset: opset.unwrap_or(model.opset()),
        left_out: consumer.left_out.clone(),
        narrow,
        shortened,
    };
    write_card(&facts, &exported, &draft, &models, &consumer)?;
    draft.write_json(RECORD, &exported)?;
    draft.place()?;
    Ok(exported)
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
    Ok(ReducedPrecision { weights: storage.as_str(), bytes, before: run.measure()?, after })
}

/// Copies the files of the preprocessing to their places in the layout. Returns their folders.
fn copy_preprocessing(
    run: &Path,
    manifest: &RunManifest,
    layout: &dyn Layout,
    draft: &DraftFolder,
) -> Result<BTreeSet<String>, Error> {
    // A run with only files of vectors has no preprocessing. Only files that were verified are copied.
    let prefix = format!("{PREPROCESSING}/");
    let mut folders = BTreeSet::new();
    for name in manifest.outputs.keys().map(|name| name.as_str()).filter(|name| name.starts_with(&prefix)) {
        let Some(place) = layout.place(name) else { continue };
        draft.write(&place, read_in(run, name, u64::MAX)?)?;
        let until = place.find(&prefix).map_or(place.len(), |at| at + PREPROCESSING.len());
        folders.insert(place[..until].to_owned());
    }
    Ok(folders)
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

/// Returns an error if pictures are to be prepared in a layout that says how others prepare them.
fn check_pictures(pictures: bool, layout: ExportLayout) -> Result<(), Error> {
    if !pictures || matches!(layout, ExportLayout::Merged | ExportLayout::Towers) {
        return Ok(());
    }
    let message = "--with-preprocessing: the files of this layout say how pictures are prepared";
    Err(Error::input("chiasm::export::pictures", message, "use --layout onnx or towers"))
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
