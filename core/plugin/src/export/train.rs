//! Passes a training over the ABI: the plugin calls [`request`], the host answers with [`serve`].
//!
//! Rows are not copied: they stay in the plugin's memory until the call returns.

use chiasm_abi::stable::{RSlice, RString};
use chiasm_abi::{DataType, NamedOwned, NamedTensor, TensorLayout, TensorView, TrainJob, TrainOutcome};
use chiasm_graph::{Graph, TensorRef};
use chiasm_objective::{
    Objective, RandomInput, TrainableWeight, TrainedWeights, TrainingOptions, TrainingReport, TrainingRows,
};
use serde::{Deserialize, Serialize};

use super::tensor;
use crate::{Error, Result};

/// The JSON that accompanies the graphs and rows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainingSpecification {
    trainable: Vec<TrainableWeight>,
    random: Vec<RandomInput>,
    options: TrainingOptions,
}

/// Requests a training through `call` and returns the trained weights.
pub fn request(
    objective: &Objective,
    rows: &TrainingRows<'_>,
    options: &TrainingOptions,
    call: impl FnOnce(TrainJob<'_>) -> Result<TrainOutcome>,
) -> Result<TrainedWeights> {
    let (trainable, random) = (objective.trainable.clone(), objective.random.clone());
    let specification =
        serde_json::to_string(&TrainingSpecification { trainable, random, options: options.clone() })?;
    let mut graphs = vec![("objective", objective.graph.to_bytes()?)];
    if let Some(after) = &objective.after {
        graphs.push(("after", after.to_bytes()?));
    }
    let lengths: Vec<[i64; 1]> =
        graphs.iter().map(|(_, bytes)| Ok([i64::try_from(bytes.len())?])).collect::<Result<_>>()?;
    let graphs: Vec<NamedTensor<'_>> = graphs
        .iter()
        .zip(&lengths)
        .map(|((name, bytes), shape)| NamedTensor {
            name: (*name).into(),
            tensor: TensorView::of_bytes(bytes, BYTES, shape),
        })
        .collect();
    let shapes = [shapes(rows.training)?, shapes(rows.validation)?];
    let [training, validation] = [named(rows.training, &shapes[0]), named(rows.validation, &shapes[1])];
    let outcome = call(TrainJob {
        graphs: RSlice::from_slice(&graphs),
        training: RSlice::from_slice(&training),
        validation: RSlice::from_slice(&validation),
        specification: specification.as_str().into(),
    })?;
    let read = |weight: &NamedOwned| Ok((weight.name.to_string(), tensor::from_abi(&weight.tensor.view())?));
    let weights = outcome.weights.iter().map(read).collect::<Result<_>>()?;
    let report: TrainingReport = serde_json::from_str(&outcome.report)?;
    Ok(TrainedWeights { weights, report })
}

/// Serves a requested training with `work`.
pub fn serve(
    job: &TrainJob<'_>,
    work: impl FnOnce(&Objective, &TrainingRows<'_>, &TrainingOptions) -> Result<TrainedWeights>,
) -> Result<TrainOutcome> {
    let TrainingSpecification { trainable, random, options } =
        serde_json::from_str(job.specification.as_str())
            .map_err(|e| Error::invalid(format!("the training's specification: {e}")))?;
    let objective = graph(job, "objective")?;
    let objective = objective.ok_or_else(|| Error::invalid("the training has no graph `objective`"))?;
    let objective = Objective { graph: objective, trainable, random, after: graph(job, "after")? };
    let layouts = [layouts(job.training.as_slice())?, layouts(job.validation.as_slice())?];
    let training = borrowed(job.training.as_slice(), &layouts[0])?;
    let validation = borrowed(job.validation.as_slice(), &layouts[1])?;
    let trained = work(&objective, &TrainingRows { training: &training, validation: &validation }, &options)?;
    let give = |(name, weight)| Ok(NamedOwned { name: RString::from(name), tensor: tensor::to_abi(weight)? });
    Ok(TrainOutcome {
        weights: trained.weights.into_iter().map(give).collect::<Result<_>>()?,
        report: serde_json::to_string(&trained.report)?.into(),
    })
}

const BYTES: DataType = DataType::of(1, 8);

fn shapes(rows: &[(&str, TensorRef<'_>)]) -> Result<Vec<Vec<i64>>> {
    rows.iter().map(|(_, view)| tensor::shape(view.shape())).collect()
}

fn named<'a>(rows: &[(&'a str, TensorRef<'a>)], shapes: &'a [Vec<i64>]) -> Vec<NamedTensor<'a>> {
    let named = |((name, view), shape): (&(&'a str, TensorRef<'a>), &'a Vec<i64>)| NamedTensor {
        name: (*name).into(),
        tensor: tensor::view(*view, shape),
    };
    rows.iter().zip(shapes).map(named).collect()
}

fn graph(job: &TrainJob<'_>, name: &str) -> Result<Option<Graph>> {
    let Some(found) = job.graphs.iter().find(|graph| graph.name == name) else { return Ok(None) };
    let (bytes, _) = found.tensor.slice::<u8>().map_err(|e| Error::invalid(e.to_string()))?;
    let graph = Graph::from_bytes(bytes).map_err(|e| Error::invalid(format!("the graph `{name}`: {e}")))?;
    Ok(Some(graph))
}

fn layouts(rows: &[NamedTensor<'_>]) -> Result<Vec<TensorLayout>> {
    let layout = |row: &NamedTensor<'_>| {
        row.tensor.layout().map_err(|e| Error::invalid(format!("rows `{}`: {e}", row.name)))
    };
    rows.iter().map(layout).collect()
}

/// Checks the rows and returns views of them, without a copy.
fn borrowed<'a>(
    rows: &'a [NamedTensor<'a>],
    layouts: &'a [TensorLayout],
) -> Result<Vec<(&'a str, TensorRef<'a>)>> {
    rows.iter()
        .zip(layouts)
        .map(|(row, layout)| {
            let wrong = |e: &dyn std::fmt::Display| Error::invalid(format!("rows `{}`: {e}", row.name));
            let (bytes, _) = row.tensor.bytes().map_err(|e| wrong(&e))?;
            let dtype = tensor::dtype(row.tensor.dtype())?;
            Ok((row.name.as_str(), TensorRef::new(dtype, layout.shape(), bytes).map_err(|e| wrong(&e))?))
        })
        .collect()
}
