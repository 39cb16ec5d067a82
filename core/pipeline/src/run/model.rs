//! The learned part of a merged model: heads, inverses and fusion, just fitted or read from a run folder.

use super::graphs::{Head, embeds, pooled};
use crate::{
    base::{environment::Environment, error::Error},
    embed::EmbeddedItems,
};
use chiasm_graph::{Graph, Tensor};
use chiasm_host::{Inverse, Task};
use ndarray::{Array2, ArrayView2, Axis};

/// The heads, inverses and fusion of a merged model.
#[derive(Debug, Clone)]
pub struct LearnedModel {
    /// The head of each modality, in order.
    pub heads: Vec<Head>,
    /// The inverse of each map, if it has one.
    pub inverses: Vec<Option<Inverse>>,
    /// The fusion, if there is one. Inputs: `<modality>.pooled`, `.tokens` and `.mask`. Outputs: `fused`,
    /// optionally `logits` and `attention.<modality>`.
    pub fusion: Option<Graph>,
    /// The task of the fusion.
    pub task: Option<Task>,
}

/// The items of one modality in the shared space.
#[derive(Debug, Clone)]
pub struct AlignedItems {
    /// The modality.
    pub name: String,
    /// Unit vectors before the hubness bank, `[items, k]`.
    pub z: Array2<f32>,
    /// Embeddings, whose dot product is the score: `[items, k]`, or wider with a bank.
    pub embeds: Array2<f32>,
    /// The row of each item, sorted in ascending order.
    pub rows: Vec<usize>,
    /// The number of each item among the distinct ones; an item that several rows show has one number.
    pub items: Vec<usize>,
}

impl AlignedItems {
    /// Returns the items at these indices.
    pub fn at(&self, indices: &[usize]) -> Self {
        Self {
            name: self.name.clone(),
            z: self.z.select(Axis(0), indices),
            embeds: self.embeds.select(Axis(0), indices),
            rows: indices.iter().map(|at| self.rows[*at]).collect(),
            items: indices.iter().map(|at| self.items[*at]).collect(),
        }
    }
}

impl LearnedModel {
    /// Returns the index of a modality.
    pub fn place(&self, modality: &str) -> Option<usize> {
        self.heads.iter().position(|head| head.modality == modality)
    }

    /// Aligns items of the modality `at` with its head.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn align(
        &self,
        at: usize,
        embedded: &EmbeddedItems,
        env: &Environment,
    ) -> Result<AlignedItems, Error> {
        let head = &self.heads[at];
        let (input, output, z_name) = (pooled(&head.modality), embeds(&head.modality), head.z());
        let names: Vec<&str> =
            if z_name == output { vec![&output] } else { vec![output.as_str(), z_name.as_str()] };
        let mut outputs = run_rows(&head.graph, &input, &names, embedded.pooled.view(), env)?;
        let embeds = if outputs.is_empty() { Array2::default((0, 0)) } else { outputs.remove(0) };
        let z = outputs.pop().unwrap_or_else(|| embeds.clone());
        Ok(AlignedItems {
            name: embedded.name.clone(),
            z,
            embeds,
            rows: embedded.rows.clone(),
            items: embedded.items.clone(),
        })
    }

    /// Aligns the items of every modality.
    ///
    /// # Errors
    /// As [`LearnedModel::align`].
    pub fn align_all(
        &self,
        embedded: &[EmbeddedItems],
        env: &Environment,
    ) -> Result<Vec<AlignedItems>, Error> {
        embedded.iter().enumerate().map(|(at, embedded)| self.align(at, embedded, env)).collect()
    }

    /// Returns those of the ports `tokens` and `mask` of a modality that the fusion reads.
    pub fn token_ports(&self, modality: &str) -> Vec<&'static str> {
        self.fusion.as_ref().map(|fusion| token_ports(fusion, modality)).unwrap_or_default()
    }

    /// Returns the output with the predictions: `logits`, or `fused` for a retrieval task.
    pub fn prediction_output(&self) -> &'static str {
        if self.task.as_ref().is_some_and(Task::has_logits) { "logits" } else { "fused" }
    }
}

/// Returns those of the ports `tokens` and `mask` of a modality that a fusion reads. A merged model has only
/// these.
pub fn token_ports(fusion: &Graph, modality: &str) -> Vec<&'static str> {
    ["tokens", "mask"]
        .into_iter()
        .filter(|port| fusion.input(&format!("{modality}.{port}")).is_ok())
        .collect()
}

/// Runs a graph with one input on a matrix. Returns the requested outputs, in order.
pub fn run_rows(
    graph: &Graph,
    input: &str,
    outputs: &[&str],
    rows: ArrayView2<'_, f32>,
    env: &Environment,
) -> Result<Vec<Array2<f32>>, Error> {
    let internal = |e: chiasm_graph::Error| Error::Internal(e.to_string());
    let shape = [rows.nrows(), rows.ncols()];
    let tensor = Tensor::f32(&shape, rows.iter().copied().collect()).map_err(internal)?;
    let found = env.session(graph)?.run_outputs(&[(input, &tensor)], outputs)?;
    found.into_iter().map(|(_, tensor)| matrix(tensor)).collect()
}

/// Converts a tensor to a matrix: the first axis, and all other axes flattened.
pub fn matrix(tensor: Tensor) -> Result<Array2<f32>, Error> {
    let internal = |e: String| Error::Internal(format!("an output is not a matrix: {e}"));
    let rows = tensor.shape().first().copied().unwrap_or_default();
    let width = tensor.shape().iter().skip(1).product();
    let values = tensor.into_f32().map_err(|e| internal(e.to_string()))?;
    Array2::from_shape_vec((rows, width), values).map_err(|e| internal(e.to_string()))
}
