//! Exporting a run: its model in another layout, with reduced-precision weights or with shorter vectors. The
//! outputs of the exported files are compared with those of the run.

use super::{
    draft::DraftFolder,
    evaluate::Metrics,
    files::{EVAL_RESULTS, METRICS, MODEL, ModalityManifest, PREPROCESSING, README, read_in, read_json},
    graphs::embeds,
    model_card::{CardFacts, CardModel, ExportFacts, eval_results, model_card},
    open::Run,
    prove::{TOLERANCE, largest_difference},
};
use crate::base::{environment::Environment, error::Error};
use chiasm_graph::{Builder, DType, Dim, Graph, Port, Storage, Tensor};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

/// The layout of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportLayout {
    /// The merged model as one file.
    Merged,
    /// One model per modality, e.g. to embed items for a search index.
    Towers,
}

/// What is exported, and how.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// The files.
    pub layout: ExportLayout,
    /// Store the weights in fewer bits.
    pub weights: Option<Storage>,
    /// Keep this many coordinates of the vectors of all modalities.
    pub dimensions: Option<usize>,
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
    /// The effect of reduced-precision weights, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub narrow: Option<ReducedPrecision>,
    /// The effect of shorter vectors, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortened: Option<ShortenedVectors>,
}

/// The effect of shorter vectors: the metrics on the test rows of the run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ShortenedVectors {
    /// The number of coordinates, before and after.
    pub dimensions: [usize; 2],
    /// Metrics of the whole vectors.
    pub before: Metrics,
    /// Metrics of the first coordinates, scaled to length one.
    pub after: Metrics,
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
/// which take whole vectors.
pub fn export(
    run: &Path,
    options: ExportOptions,
    output: &Path,
    env: &Environment,
) -> Result<ExportReport, Error> {
    let ExportOptions { layout, weights, dimensions } = options;
    if output.exists() {
        let message = format!("{} exists", output.display());
        return Err(Error::input("chiasm::export::exists", message, "choose another folder for -o"));
    }
    let opened = Run::open(run, env)?;
    let manifest = &opened.manifest;
    let shortened = dimensions.map(|kept| measure_shortened(&opened, kept, weights, env)).transpose()?;
    let names: Vec<String> = manifest.modalities.iter().map(|modality| embeds(&modality.name)).collect();
    let fitted = match dimensions {
        None => opened.part(MODEL)?,
        Some(kept) => shorten(&opened.part(MODEL)?, &names, kept)?,
    };
    let stored =
        weights.map(|storage| fitted.stored_as(storage).with_metadata("chiasm.weights", storage.as_str()));
    let model = stored.as_ref().unwrap_or(&fitted);
    let narrow = weights.map(|storage| {
        Ok::<_, Error>(ReducedPrecision {
            weights: storage.as_str(),
            bytes: [fitted.weight_bytes(), model.weight_bytes()],
            before: opened.measure()?,
            after: Run::open_stored(run, Some(storage), env)?.measure()?,
        })
    });
    let narrow = narrow.transpose()?;
    let draft = DraftFolder::begin(output)?;
    let parts = parts(layout, model, &manifest.modalities)?;
    let mut files = Vec::new();
    for (name, graph) in &parts {
        graph.save(draft.folder().join(name)).map_err(Error::graph(format!("writing {name}")))?;
        files.push(name.clone());
    }
    // A run with only files of vectors has no preprocessing. Only files that were verified are copied.
    let prefix = format!("{PREPROCESSING}/");
    let preprocessing = || manifest.outputs.keys().filter(|name| name.as_str().starts_with(&prefix));
    for name in preprocessing() {
        draft.write(name.as_str(), read_in(run, name.as_str(), u64::MAX)?)?;
    }
    files.extend(preprocessing().next().map(|_| PREPROCESSING.to_owned()));
    let differences = compare_outputs(&fitted, stored.as_ref(), draft.folder(), &parts, env)?;
    files.extend([RECORD, README, EVAL_RESULTS].map(ToOwned::to_owned));
    let modalities = manifest.modalities.clone();
    let run_key = manifest.key.clone();
    let exported = ExportReport { files, modalities, run_key, differences, narrow, shortened };
    write_card(&opened, &exported, &draft, &parts)?;
    draft.write_json(RECORD, &exported)?;
    draft.place()?;
    Ok(exported)
}

/// Returns the models of a layout, by the names of their files.
fn parts(
    layout: ExportLayout,
    model: &Graph,
    modalities: &[ModalityManifest],
) -> Result<Vec<(String, Graph)>, Error> {
    let tower = |modality: &ModalityManifest| {
        let name = &modality.name;
        let tower = model.extract(&[&embeds(name)]).map_err(Error::graph(format!("the tower {name:?}")))?;
        Ok((format!("{name}.onnx"), tower))
    };
    match layout {
        ExportLayout::Merged => Ok(vec![(MODEL.to_owned(), model.clone())]),
        ExportLayout::Towers => modalities.iter().map(tower).collect(),
    }
}

/// Measures a run whose vectors have only their first `kept` coordinates.
///
/// # Errors
/// If that is not possible, or the data of the run cannot be read.
fn measure_shortened(
    run: &Run<'_>,
    kept: usize,
    weights: Option<Storage>,
    env: &Environment,
) -> Result<ShortenedVectors, Error> {
    let refused = |message: String, help: &str| Error::input("chiasm::export::dimensions", message, help);
    if weights.is_some() {
        let message = "--dimensions cannot be used together with --weights".to_owned();
        return Err(refused(message, "the effect of both is measured one by one: leave one of them out"));
    }
    let banked = run.model.heads.iter().any(|head| head.z() != embeds(&head.modality));
    if run.model.fusion.is_some() || banked {
        let what = if banked { "bank for its scores" } else { "fusion" };
        let message = format!("--dimensions: this run has a {what}, which takes whole vectors");
        return Err(refused(message, "fit a run without [fuse] and without score.bank"));
    }
    let name = run.manifest.modalities.first().map(|modality| embeds(&modality.name)).unwrap_or_default();
    let port = run.model().output(&name).map_err(Error::graph(MODEL.to_owned()))?;
    let all = port.dims.as_deref().and_then(|dims| dims.get(1)?.fixed()).unwrap_or_default();
    if !(1..all).contains(&kept) {
        let message = format!("--dimensions: expected fewer than the {all} of the run, got {kept}");
        return Err(refused(message, "give a number from 1 on"));
    }
    let mut shorter = Run::open(run.folder(), env)?;
    for head in &mut shorter.model.heads {
        head.graph = shorten(&head.graph, &[embeds(&head.modality)], kept)?;
    }
    Ok(ShortenedVectors { dimensions: [all, kept], before: run.measure()?, after: shorter.measure()? })
}

/// Returns a graph whose outputs `names` `[n, d]` are their first `kept` columns, scaled to length one.
fn shorten(graph: &Graph, names: &[String], kept: usize) -> Result<Graph, Error> {
    let of = |graph: &Graph, name: &String| {
        let port = graph.output(name)?;
        let (whole, rows) = (format!("{name}/whole"), port.dims.iter().flatten().next().cloned());
        let mut b = Builder::new("shorter");
        let x = b.input(&whole, port.dtype, port.dims.as_deref().unwrap_or_default())?;
        let end = i64::try_from(kept).unwrap_or(i64::MAX);
        let [start, end, axis] = [("start", 0), ("end", end), ("axis", 1)]
            .map(|(what, at)| b.ints(&format!("{name}/{what}"), &[at]));
        let part = b.op("Slice", &[&x, &start, &end, &axis], &[]);
        let unit = b.l2_normalise(&part, 1, 1e-12);
        b.output(name, &unit, port.dtype, &[rows.unwrap_or(Dim::Unknown), kept.into()]);
        graph.renamed(&[(name, &whole)])?.join(&b.finish()?, &[(&whole, &whole)])
    };
    let shorter = names.iter().try_fold(graph.clone(), |graph, name| of(&graph, name));
    shorter.map_err(Error::graph("keeping the first coordinates".to_owned()))
}

/// Writes the model card of an export, and its results.
///
/// # Errors
/// If a file of the run or the export cannot be read, or a file cannot be written.
fn write_card(
    run: &Run<'_>,
    exported: &ExportReport,
    draft: &DraftFolder,
    parts: &[(String, Graph)],
) -> Result<(), Error> {
    let facts = CardFacts::read(&run.folder, &run.manifest, run.recipe(), read_json(&run.folder, METRICS)?)?;
    let models = parts.iter().map(|(name, graph)| CardModel::of(draft.folder(), name, graph));
    let models: Vec<CardModel> = models.collect::<Result<_, _>>()?;
    let narrow = exported.narrow.as_ref();
    let narrow =
        narrow.map(|narrow| (format!("Its weights are stored as {}", narrow.weights), &narrow.after));
    let shortened = exported.shortened.as_ref().map(|shortened| {
        let [all, kept] = shortened.dimensions;
        (format!("Its vectors are the first {kept} of {all} coordinates, of length one"), &shortened.after)
    });
    let difference = exported.differences.values().copied().fold(0.0, f32::max);
    let export = ExportFacts { reduced: narrow.or(shortened), difference };
    draft.write(README, model_card(&facts, &models, Some(&export)))?;
    draft.write(EVAL_RESULTS, eval_results(&facts, Some(&export)))
}

/// Runs all models on the same synthetic inputs: `fitted`, `stored` if its weights have reduced precision,
/// and every exported file. Returns the differences of the files from `fitted`.
///
/// # Errors
/// If a file does not reproduce `stored`, or `fitted` if that is `None`.
fn compare_outputs(
    fitted: &Graph,
    stored: Option<&Graph>,
    folder: &Path,
    parts: &[(String, Graph)],
    env: &Environment,
) -> Result<BTreeMap<String, f32>, Error> {
    let inputs: Vec<(String, Tensor)> = fitted
        .inputs()
        .iter()
        .map(|port| Ok((port.name.clone(), synthetic_input(port)?)))
        .collect::<Result<_, Error>>()?;
    let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let outputs = |graph: &Graph| -> Result<BTreeMap<String, Tensor>, Error> {
        Ok(env.session(graph)?.run(&borrowed)?.into_iter().collect())
    };
    let (fitted, stored) = (outputs(fitted)?, stored.map(outputs).transpose()?);
    let mut differences = BTreeMap::new();
    for (name, graph) in parts {
        let path = folder.join(name);
        let exported = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
        let wanted: Vec<(&str, &Tensor)> =
            borrowed.iter().filter(|(n, _)| graph.inputs().iter().any(|p| p.name == *n)).copied().collect();
        for (output, got) in env.session(&exported)?.run(&wanted)? {
            let from = |outputs: &BTreeMap<String, Tensor>| {
                outputs.get(&output).map_or(f32::INFINITY, |other| largest_difference(other, &got))
            };
            let reported = from(&fitted);
            let difference = stored.as_ref().map_or(reported, from);
            if difference > TOLERANCE {
                return Err(Error::Gate(format!(
                    "{name} does not reproduce the run: {output} differs by {difference:e}, the limit is \
                     {TOLERANCE:e}; nothing was exported"
                )));
            }
            differences.insert(output, reported);
        }
    }
    Ok(differences)
}

/// Returns a synthetic input of a port's type. Free axes have length 2, integers are 1, floats form a ramp.
fn synthetic_input(port: &Port) -> Result<Tensor, Error> {
    let dims = port.dims.as_ref().ok_or_else(|| Error::Internal(format!("input {port} has no rank")))?;
    let shape: Vec<usize> = dims.iter().map(|d| if let Dim::Fixed(n) = d { *n } else { 2 }).collect();
    let count: usize = shape.iter().product();
    let ramp = || (0..count).map(|i| (i % 17) as f32 / 17.0).collect::<Vec<f32>>();
    let made = match port.dtype {
        DType::F32 => Tensor::f32(&shape, ramp()),
        DType::I64 => Tensor::i64(&shape, vec![1; count]),
        DType::I32 => Tensor::i32(&shape, vec![1; count]),
        other => Tensor::zeros(other, &shape),
    };
    made.map_err(|e| Error::Internal(e.to_string()))
}
