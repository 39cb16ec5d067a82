//! What is in an ONNX file, a run folder or a model card, without running anything.

use super::{
    evaluate::Metrics,
    files::{LEARNED, LearnedFile, METRICS, MODEL, path_in, read_json, read_manifest},
    model_card::{EncoderFacts, LicenceSummary, encoders, licences, prepared},
    open::read_recipe,
    pipeline_svg::{PipelineParts, draw},
};
use crate::{
    base::{
        digest::{model_digest, sha256_of},
        error::Error,
    },
    catalog::card::{ModelCard, read_card},
};
use chiasm_graph::{Graph, Port};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A file with its size.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SizedFile {
    /// Its name or path.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// What is in an ONNX file.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ModelInspection {
    /// The file.
    pub model: SizedFile,
    /// The files beside it that hold weights.
    pub external: Vec<SizedFile>,
    /// The digest that a card of the model states.
    pub card_sha256: String,
    /// The name of the graph.
    pub graph: String,
    /// The program that made it.
    pub producer: String,
    /// The version of the ONNX format.
    pub ir_version: i64,
    /// The version of the `ai.onnx` operator set.
    pub opset: i64,
    /// The inputs: name, type and shape.
    pub inputs: Vec<String>,
    /// The outputs: name, type and shape.
    pub outputs: Vec<String>,
    /// How often each operator is used.
    pub operators: BTreeMap<String, usize>,
    /// The number of weights' elements by type.
    pub parameters: BTreeMap<String, u64>,
    /// The size of all weights in bytes.
    pub weight_bytes: u64,
    /// The metadata of the file.
    pub metadata: BTreeMap<String, String>,
}

/// An encoder of a run, an export or a card.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EncoderInspection {
    /// Its modality; empty for a card.
    pub modality: String,
    /// Its name.
    pub name: String,
    /// The adapter that prepares its items.
    pub adapter: String,
    /// The licence on its card; `None` for a file of vectors.
    pub licence: Option<String>,
    /// The origin on its card.
    pub source: Option<String>,
    /// The digest of its model on its card.
    pub sha256: Option<String>,
    /// The number of values of a pooled vector.
    pub pooled: usize,
    /// The name of each input in the merged model, by its own name.
    pub inputs: BTreeMap<String, String>,
    /// The table that says how its items are prepared.
    pub preprocessing: Value,
    /// The same in words.
    pub preparation: String,
}

/// What is in a run folder.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RunInspection {
    /// The version of Chiasm.
    pub chiasm: String,
    /// The engine.
    pub engine: String,
    /// The random seed.
    pub seed: u64,
    /// The digest of everything that the run depends on.
    pub key: String,
    /// The aligner.
    pub aligner: String,
    /// The encoders.
    pub encoders: Vec<EncoderInspection>,
    /// The identifier of all licences together, as the model card states it.
    pub licence: String,
    /// What the licences mean.
    pub licence_consequence: String,
    /// The sum of all recalls on the test rows, and its maximum.
    pub rsum: [f64; 2],
    /// The merged model.
    pub model: ModelInspection,
    /// Every file of the run that has a digest.
    pub files: Vec<SizedFile>,
    /// A drawing of the merged model.
    #[serde(skip)]
    pub svg: String,
}

/// What a model card says, and the model that it describes.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CardInspection {
    /// The card.
    pub card: ModelCard,
    /// The model's path, if it was found beside the card.
    pub path: Option<PathBuf>,
    /// Whether the model has the digest on the card; `None` if it was not found.
    pub matches: Option<bool>,
    /// What is in the model.
    pub model: Option<ModelInspection>,
}

/// Reads an ONNX file and its weights. Returns what is in it, and its graph.
///
/// # Errors
/// If the file cannot be read.
pub fn inspect_onnx(path: &Path) -> Result<(ModelInspection, Graph), Error> {
    let loaded = Graph::load_with_files(path).map_err(Error::graph(path.display().to_string()));
    let (graph, weights) = loaded?;
    let listed = |ports: Vec<Port>| ports.iter().map(Port::to_string).collect();
    let inspection = ModelInspection {
        model: sized(path, path.display().to_string())?,
        external: weights
            .iter()
            .map(|file| sized(file, file.display().to_string()))
            .collect::<Result<_, _>>()?,
        card_sha256: model_digest(path, &weights).map_err(|e| Error::io("read", path, e))?,
        graph: graph.name().to_owned(),
        producer: graph.producer(),
        ir_version: graph.ir_version(),
        opset: graph.opset(),
        inputs: listed(graph.inputs()),
        outputs: listed(graph.outputs()),
        operators: graph.op_types(),
        parameters: graph.parameters(),
        weight_bytes: graph.weight_bytes(),
        metadata: graph.metadata(),
    };
    Ok((inspection, graph))
}

/// Reads a run folder. Returns what is in it, and the graph of the merged model.
///
/// # Errors
/// If it is not a run folder, or a file is missing or was changed.
pub fn inspect_run(run: &Path) -> Result<(RunInspection, Graph), Error> {
    let manifest = read_manifest(run)?;
    manifest.verify(run)?;
    let (model, graph) = inspect_onnx(&path_in(run, MODEL)?)?;
    let learned: LearnedFile = read_json(run, LEARNED)?;
    let metrics: Metrics = read_json(run, METRICS)?;
    let found = encoders(run, &manifest)?;
    let licence = LicenceSummary::of(&licences(found.iter().map(EncoderFacts::licensed)));
    let outputs = graph.outputs();
    let recipe = read_recipe(run, &[])?;
    let parts = PipelineParts {
        encoders: found.iter().map(EncoderFacts::drawn).collect(),
        aligner: &learned.plugin,
        fusion: recipe.fuse.as_ref().map(|fuse| fuse.id.value.as_str()),
        outputs: &outputs,
    };
    let svg = draw(&manifest.modalities, &parts);
    let files = manifest.outputs.keys();
    let files = files.map(|name| sized(&path_in(run, name.as_str())?, name.to_string()));
    let inspection = RunInspection {
        encoders: found.iter().map(|encoder| of_encoder(encoder, &graph.inputs())).collect(),
        aligner: learned.plugin.clone(),
        licence: licence.name.unwrap_or(licence.identifier),
        licence_consequence: licence.consequence,
        rsum: [metrics.rsum, metrics.rsum_max],
        files: files.collect::<Result<_, Error>>()?,
        chiasm: manifest.chiasm,
        engine: manifest.engine,
        seed: manifest.seed,
        key: manifest.key,
        model,
        svg,
    };
    Ok((inspection, graph))
}

/// Reads a model card and, if it lies beside it, its model. Returns what is in them, and the model's graph.
///
/// # Errors
/// If the card is invalid, or its model cannot be read.
pub fn inspect_card(path: &Path) -> Result<(CardInspection, Option<Graph>), Error> {
    let card = read_card(path)?;
    let beside = path.parent().unwrap_or(Path::new("")).join(&card.model);
    if !beside.is_file() {
        return Ok((CardInspection { card, path: None, matches: None, model: None }, None));
    }
    let (model, graph) = inspect_onnx(&beside)?;
    let matches = Some(model.card_sha256 == card.sha256);
    Ok((CardInspection { card, path: Some(beside), matches, model: Some(model) }, Some(graph)))
}

/// Describes an encoder of a model with the inputs `ports`.
pub fn of_encoder(encoder: &EncoderFacts<'_>, ports: &[Port]) -> EncoderInspection {
    let card = encoder.card.as_ref();
    EncoderInspection {
        modality: encoder.modality.to_owned(),
        name: encoder.name.to_owned(),
        adapter: encoder.adapter.to_owned(),
        licence: card.map(|card| card.licence.clone()),
        source: card.map(|card| card.source.clone()),
        sha256: card.map(|card| card.sha256.clone()),
        pooled: encoder.pooled,
        inputs: encoder.inputs.clone(),
        preprocessing: encoder.spec.preprocessing.clone(),
        preparation: prepared(encoder, ports).words,
    }
}

/// Returns the size and the digest of a file.
///
/// # Errors
/// If it cannot be read.
pub fn sized(path: &Path, file: String) -> Result<SizedFile, Error> {
    let read = |e| Error::io("read", path, e);
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    Ok(SizedFile { file, bytes, sha256: sha256_of(path).map_err(read)? })
}
