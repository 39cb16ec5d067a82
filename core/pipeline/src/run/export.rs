//! Exporting a run: its model in another layout, or with narrow weights, proved by running both in fresh
//! sessions.

use super::{
    draft::DraftFolder,
    evaluate::Metrics,
    files::{MODEL, ModalityManifest, PREPROCESSING, README},
    graphs::embeds,
    open::Run,
    prove::{TOLERANCE, largest_difference},
};
use crate::base::{environment::Environment, error::Error};
use chiasm_graph::{DType, Dim, Graph, Port, Storage, Tensor};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// How the model is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportLayout {
    /// The merged model as one file.
    Merged,
    /// One model a modality, for filling an index and asking it.
    Towers,
}

/// What was written, and how far its outputs are from the run's own model.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// The files, models first.
    pub files: Vec<PathBuf>,
    /// The modalities: how raw items are prepared, and which ports they have.
    pub modalities: Vec<ModalityManifest>,
    /// The key of the run that was exported.
    pub run_key: String,
    /// The largest absolute difference of each output against `model.onnx` in a fresh session, on made-up
    /// inputs.
    pub differences: BTreeMap<String, f32>,
    /// What narrow weights save and cost, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub narrow: Option<ReducedPrecision>,
}

/// Weights in fewer bits: what they save, and the run's metrics with and without, on its held-out rows.
#[derive(Debug, Clone, Serialize)]
pub struct ReducedPrecision {
    /// `fp16` or `int8`.
    pub weights: &'static str,
    /// Bytes of the merged model's weights before and after.
    pub bytes: [u64; 2],
    /// As fitted.
    pub before: Metrics,
    /// With narrow weights.
    pub after: Metrics,
}

/// What `export --format json` prints, beside the model.
const RECORD: &str = "export.json";

/// Copies a run's model and preprocessing into `output`, which must not exist yet; with `weights` in fewer
/// bits, whose loss is measured on the run's held-out rows.
///
/// # Errors
/// When `run` is no run, `output` exists, the disk refuses, the copy does not compute what the run does, or
/// the data that a loss is to be measured on is not there any more.
pub fn export(
    run: &Path,
    layout: ExportLayout,
    weights: Option<Storage>,
    output: &Path,
    env: &Environment,
) -> Result<ExportReport, Error> {
    if output.exists() {
        let message = format!("{} exists", output.display());
        return Err(Error::input("chiasm::export::exists", message, "choose a new folder for -o"));
    }
    let opened = Run::open(run, env)?;
    let manifest = &opened.manifest;
    let fitted = opened.part(MODEL)?;
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
    let parts: Vec<(String, Graph)> = match layout {
        ExportLayout::Merged => vec![(MODEL.to_owned(), model.clone())],
        ExportLayout::Towers => (manifest.modalities.iter())
            .map(|m| {
                let tower = model
                    .extract(&[&embeds(&m.name)])
                    .map_err(Error::graph(format!("the tower {:?}", m.name)))?;
                Ok((format!("{}.onnx", m.name), tower))
            })
            .collect::<Result<_, Error>>()?,
    };
    let mut files = Vec::new();
    for (name, graph) in &parts {
        graph.save(draft.folder().join(name)).map_err(Error::graph(format!("writing {name}")))?;
        files.push(output.join(name));
    }
    // a run of vectors alone has no preprocessing
    if run.join(PREPROCESSING).exists() {
        copy(&run.join(PREPROCESSING), &draft.folder().join(PREPROCESSING))?;
        files.push(output.join(PREPROCESSING));
    }
    let differences = prove(&fitted, stored.as_ref(), draft.folder(), &parts, env)?;
    files.extend([output.join(RECORD), output.join(README)]);
    let modalities = manifest.modalities.clone();
    let exported = ExportReport { files, modalities, run_key: manifest.key.clone(), differences, narrow };
    draft.write(README, readme(&exported, &parts))?;
    draft.write_json(RECORD, &exported)?;
    draft.place()?;
    Ok(exported)
}

/// Runs the model as fitted, as it is to be stored where that is another, and every exported file on the same
/// made-up inputs: a file must compute what was to be stored, and how far that is from what was fitted is
/// reported.
fn prove(
    fitted: &Graph,
    stored: Option<&Graph>,
    folder: &Path,
    parts: &[(String, Graph)],
    env: &Environment,
) -> Result<BTreeMap<String, f32>, Error> {
    let inputs: Vec<(String, Tensor)> = fitted
        .inputs()
        .iter()
        .map(|port| Ok((port.name.clone(), probe(port)?)))
        .collect::<Result<_, Error>>()?;
    let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let outputs = |graph: &Graph| -> Result<BTreeMap<String, Tensor>, Error> {
        Ok(env.session(graph)?.run(&borrowed)?.into_iter().collect())
    };
    let (fitted, stored) = (outputs(fitted)?, stored.map(outputs).transpose()?);
    let mut differences = BTreeMap::new();
    for (name, graph) in parts {
        let path = folder.join(name);
        let again = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
        let wanted: Vec<(&str, &Tensor)> =
            borrowed.iter().filter(|(n, _)| graph.inputs().iter().any(|p| p.name == *n)).copied().collect();
        for (output, got) in env.session(&again)?.run(&wanted)? {
            let from = |outputs: &BTreeMap<String, Tensor>| {
                outputs.get(&output).map_or(f32::INFINITY, |other| largest_difference(other, &got))
            };
            let reported = from(&fitted);
            let difference = stored.as_ref().map_or(reported, from);
            if difference > TOLERANCE {
                return Err(Error::Gate(format!(
                    "{name} does not compute what the run does: {output} differs by {difference:e}; nothing was \
                     exported"
                )));
            }
            differences.insert(output, reported);
        }
    }
    Ok(differences)
}

/// A made-up input of a port's type: batch and free axes of length 2, integers 1, floats in a small ramp.
fn probe(port: &Port) -> Result<Tensor, Error> {
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

/// What is in an export, and how its files belong together.
fn readme(exported: &ExportReport, parts: &[(String, Graph)]) -> String {
    let mut text =
        String::from("# ExportReport from a Chiasm run\n\n| file | inputs | outputs |\n|---|---|---|\n");
    for (name, graph) in parts {
        let list = |ports: Vec<Port>| ports.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| {name} | {} | {} |", list(graph.inputs()), list(graph.outputs()));
    }
    let outputs: Vec<String> = exported.modalities.iter().map(|m| format!("`{}`", m.output)).collect();
    let _ = writeln!(text, "\nThe score of two items is the dot product of their {}.", outputs.join(", "));
    if let Some(narrow) = &exported.narrow {
        let (before, after) = (&narrow.before, &narrow.after);
        let _ = writeln!(
            text,
            "\nThe weights are stored as {}: rsum {:.1} before, {:.1} after, on {} held-out rows.",
            narrow.weights, before.rsum, after.rsum, after.rows
        );
    }
    text.push_str("\n`preprocessing/` holds each encoder's card and the files that prepare its raw items.\n");
    text
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    if from.is_dir() {
        std::fs::create_dir_all(to).map_err(|e| Error::io("create", to, e))?;
        for entry in std::fs::read_dir(from).map_err(|e| Error::io("list", from, e))? {
            let path = entry.map_err(|e| Error::io("list", from, e))?.path();
            copy(&path, &to.join(path.file_name().unwrap_or_default()))?;
        }
        return Ok(());
    }
    std::fs::copy(from, to).map(drop).map_err(|e| Error::io("copy", from, e))
}
