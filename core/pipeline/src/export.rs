//! Exporting a run: its model in another layout, proved by running both in fresh sessions.

use crate::{
    Error, Workbench,
    compose::embeds,
    folder::{MANIFEST, read_manifest},
    prove::{TOLERANCE, largest_difference},
    write::MODEL,
};
use chiasm_graph::{DType, Dim, Graph, Port, Tensor};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// How the model is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The merged model as one file.
    Merged,
    /// One model a modality, for filling an index and asking it.
    Towers,
}

/// What was written, and how far its outputs are from the run's own model.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// The files, models first.
    pub files: Vec<PathBuf>,
    /// The largest absolute difference of each output against `model.onnx` in a fresh session.
    pub differences: BTreeMap<String, f32>,
}

/// Copies a run's model and preprocessing into `output`, which must not exist yet.
///
/// # Errors
/// When `run` is no run, `output` exists, the disk refuses, or the copy does not compute what the run does.
pub fn export(run: &Path, layout: Layout, output: &Path, bench: &Workbench) -> Result<Exported, Error> {
    let manifest = read_manifest(run)?;
    if output.exists() {
        let message = format!("{} exists", output.display());
        return Err(Error::input("chiasm::export::exists", message, "choose a new folder for -o"));
    }
    let temporary = output.with_extension("partial");
    if temporary.exists() {
        std::fs::remove_dir_all(&temporary).map_err(|e| Error::io("clear", &temporary, e))?;
    }
    std::fs::create_dir_all(&temporary).map_err(|e| Error::io("create", &temporary, e))?;
    let path = run.join(MODEL);
    let model = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
    let parts: Vec<(String, Graph)> = match layout {
        Layout::Merged => vec![(MODEL.to_owned(), model.clone())],
        Layout::Towers => (manifest.modalities.iter())
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
        graph.save(temporary.join(name)).map_err(Error::graph(format!("writing {name}")))?;
        files.push(output.join(name));
    }
    let kept = ["preprocessing", MANIFEST, "README.md"];
    for name in kept {
        copy(&run.join(name), &temporary.join(name))?;
        files.push(output.join(name));
    }
    let differences = prove(&model, &temporary, &parts, bench)?;
    std::fs::rename(&temporary, output).map_err(|e| Error::io("move", &temporary, e))?;
    Ok(Exported { files, differences })
}

/// Runs the run's model and every exported file on the same made-up inputs.
fn prove(
    model: &Graph,
    folder: &Path,
    parts: &[(String, Graph)],
    bench: &Workbench,
) -> Result<BTreeMap<String, f32>, Error> {
    let inputs: Vec<(String, Tensor)> = model
        .inputs()
        .iter()
        .map(|port| Ok((port.name.clone(), probe(port)?)))
        .collect::<Result<_, Error>>()?;
    let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let expected: BTreeMap<String, Tensor> = bench.session(model)?.run(&borrowed)?.into_iter().collect();
    let mut differences = BTreeMap::new();
    for (name, graph) in parts {
        let path = folder.join(name);
        let again = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
        let wanted: Vec<(&str, &Tensor)> =
            borrowed.iter().filter(|(n, _)| graph.inputs().iter().any(|p| p.name == *n)).copied().collect();
        for (output, got) in bench.session(&again)?.run(&wanted)? {
            let difference =
                expected.get(&output).map_or(f32::INFINITY, |expected| largest_difference(expected, &got));
            if difference > TOLERANCE {
                return Err(Error::Gate(format!(
                    "{name} does not compute what the run does: {output} differs by {difference:e}; nothing was exported"
                )));
            }
            differences.insert(output, difference);
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
