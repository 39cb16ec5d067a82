//! The comparison of exported files with the run, on synthetic inputs.

use super::layout::ExportedModel;
use crate::{
    base::{environment::Environment, error::Error},
    run::prove::{TOLERANCE, largest_difference},
};
use chiasm_graph::{DType, Dim, Graph, Port, Tensor};
use std::{collections::BTreeMap, path::Path};

/// The whole model of the run with the ports of an exported one: as fitted, and with the weights that are
/// exported if they have fewer bits.
pub struct Reference {
    pub fitted: Graph,
    pub stored: Option<Graph>,
}

type Outputs = BTreeMap<String, Tensor>;

/// Synthetic inputs of a reference, and its outputs for them.
struct Expected {
    inputs: Vec<(String, Tensor)>,
    fitted: Outputs,
    stored: Option<Outputs>,
}

/// Runs every exported file and its reference on the same synthetic inputs. Returns the differences of the
/// files from the fitted model, by the name of the output.
///
/// # Errors
/// If a file does not reproduce the reference with its weights.
pub fn compare(
    models: &[ExportedModel],
    reference: &dyn Fn(&ExportedModel) -> Result<Reference, Error>,
    folder: &Path,
    env: &Environment,
) -> Result<BTreeMap<String, f32>, Error> {
    let mut differences: BTreeMap<String, f32> = BTreeMap::new();
    let mut last: Option<(bool, Expected)> = None;
    for model in models {
        // Models with the ports of the run have the same reference.
        let of_run = model.forms.is_empty();
        let kept = last.take().filter(|(was_of_run, _)| *was_of_run && of_run);
        let expected = kept.map_or_else(|| expected(&reference(model)?, env), |(_, kept)| Ok(kept))?;
        let (_, Expected { inputs, fitted, stored }) = last.insert((of_run, expected));
        let path = folder.join(&model.file);
        let exported = Graph::load(&path).map_err(Error::graph(path.display().to_string()))?;
        let ports = exported.inputs();
        let is_read = |(name, _): &&(String, Tensor)| ports.iter().any(|port| port.name == *name);
        let wanted: Vec<(&str, &Tensor)> =
            inputs.iter().filter(is_read).map(|(n, t)| (n.as_str(), t)).collect();
        for (output, got) in env.session(&exported)?.run(&wanted)? {
            let from = |outputs: &Outputs| {
                outputs.get(&output).map_or(f32::INFINITY, |other| largest_difference(other, &got))
            };
            let reported = from(fitted);
            let difference = stored.as_ref().map_or(reported, from);
            if difference > TOLERANCE {
                return Err(Error::Gate(format!(
                    "{} does not reproduce the run: {output} differs by {difference:e}, the limit is \
                     {TOLERANCE:e}; nothing was exported",
                    model.file
                )));
            }
            let largest = differences.entry(output).or_default();
            *largest = largest.max(reported);
        }
    }
    Ok(differences)
}

/// Lengths of free axes. A model of recordings needs more samples than a model of texts needs tokens.
const LENGTHS: [usize; 4] = [2, 64, 4096, 65_536];

/// Runs a reference on synthetic inputs, of the first of [`LENGTHS`] that it can be run with.
fn expected(reference: &Reference, env: &Environment) -> Result<Expected, Error> {
    let fitted = env.session(&reference.fitted)?;
    let stored = reference.stored.as_ref().map(|graph| env.session(graph)).transpose()?;
    let ports = reference.fitted.inputs();
    let mut failed = None;
    for length in LENGTHS {
        let inputs = ports.iter().map(|port| Ok((port.name.clone(), synthetic_input(port, length)?)));
        let inputs: Vec<(String, Tensor)> = inputs.collect::<Result<_, Error>>()?;
        let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        match fitted.run(&borrowed) {
            Ok(outputs) => {
                let stored = stored.map(|session| session.run(&borrowed)).transpose()?;
                let stored = stored.map(|outputs| outputs.into_iter().collect());
                return Ok(Expected { fitted: outputs.into_iter().collect(), stored, inputs });
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.map_or_else(|| Error::Internal("no length was tried".to_owned()), Error::from))
}

/// Returns a synthetic input of a port's type: a batch of 2, and this length of other free axes. Integers are
/// 1, floats form a ramp.
fn synthetic_input(port: &Port, length: usize) -> Result<Tensor, Error> {
    let dims = port.dims.as_ref().ok_or_else(|| Error::Internal(format!("input {port} has no rank")))?;
    let length = |(at, dim): (usize, &Dim)| match dim {
        Dim::Fixed(length) => *length,
        _ if at == 0 => 2,
        _ => length,
    };
    let shape: Vec<usize> = dims.iter().enumerate().map(length).collect();
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
