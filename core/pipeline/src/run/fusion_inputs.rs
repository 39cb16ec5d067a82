//! The inputs of a fusion: for every row and modality one aligned vector, and the tokens of one item with
//! their mask.
//!
//! They are those of the first item of the row. If the row lacks the modality, its vector and its mask are
//! zero.

use super::model::LearnedModel;
use crate::{
    base::{environment::Environment, error::Error},
    embed::{EmbeddedItems, embed_items, means, tokens::TokenSequences},
    plan::{ModalityEncoders, data::RecipeData, task::GroundTruth},
    recipe::encoders::ItemRule,
};
use chiasm_graph::Tensor;
use ndarray::{Array2, Array3, Axis, Slice};
use std::collections::HashMap;

/// Rows per batch.
const BATCH: usize = 256;
/// The lower bound of the norm that a vector is divided by.
const TINY: f32 = 1e-12;

/// The inputs of a fusion for some rows.
pub struct FusionInputs {
    /// The rows.
    pub rows: Vec<usize>,
    /// The modalities, in order.
    pub names: Vec<String>,
    /// Aligned vectors of each modality, `[rows, k]`; zero if the row lacks it.
    pub pooled: Vec<Array2<f32>>,
    /// Tokens of each modality, if they were embedded.
    pub tokens: Vec<Option<TokenSequences>>,
    /// Whether each row holds each modality, `[rows, 1]`, 1 or 0: the mask of a modality without tokens.
    pub present: Vec<Array2<f32>>,
    /// The targets of a retrieval task.
    pub targets: Option<RetrievalTargets>,
}

/// The target items of a retrieval task: aligned unit vectors in the order of the rows, and their number per
/// row.
pub struct RetrievalTargets {
    /// Aligned unit vectors, `[items, k]`.
    pub items: Array2<f32>,
    /// Number of items of each row.
    pub counts: Vec<usize>,
}

impl RetrievalTargets {
    /// Returns targets from aligned vectors, which are normalised to unit length.
    pub fn new(mut items: Array2<f32>, counts: Vec<usize>) -> Self {
        for mut row in items.rows_mut() {
            let length = row.dot(&row).sqrt().max(TINY);
            row.mapv_inplace(|x| x / length);
        }
        Self { items, counts }
    }

    /// Returns the mean of the items of each row: the training target of the fused vector.
    pub fn means(&self) -> Array2<f32> {
        means(self.items.view(), &self.counts)
    }
}

impl FusionInputs {
    /// Aligns the first item of these rows with the heads of a model. `targets` are those of a retrieval
    /// task.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn of(
        model: &LearnedModel,
        embedded: &[EmbeddedItems],
        rows: &[usize],
        targets: Option<RetrievalTargets>,
        env: &Environment,
    ) -> Result<Self, Error> {
        let (mut names, mut pooled, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        let mut present = Vec::new();
        for (at, own) in embedded.iter().enumerate() {
            let first = own.select(rows).first_of_rows();
            let place: HashMap<usize, usize> =
                first.rows.iter().enumerate().map(|(at, row)| (*row, at)).collect();
            let places: Vec<Option<usize>> = rows.iter().map(|row| place.get(row).copied()).collect();
            pooled.push(spread(&model.align(at, &first, env)?.z, &places));
            tokens.push(first.sequences().map(|sequences| spread_tokens(sequences, &places)));
            present.push(Array2::from_shape_fn((rows.len(), 1), |(row, _)| {
                f32::from(u8::from(places[row].is_some()))
            }));
            names.push(own.name.clone());
        }
        Ok(Self { rows: rows.to_vec(), names, pooled, tokens, present, targets })
    }

    /// Runs the fusion and returns its output called `output` for every row. `hidden` is the index of a
    /// modality to hide.
    ///
    /// # Errors
    /// If there is no fusion or no such output, or the engine fails.
    pub fn outputs(
        &self,
        model: &LearnedModel,
        output: &str,
        hidden: Option<usize>,
        env: &Environment,
    ) -> Result<Array2<f32>, Error> {
        let internal = |e: chiasm_graph::Error| Error::Internal(e.to_string());
        let Some(fusion) = &model.fusion else {
            return Err(Error::Internal("the model has no fusion".to_owned()));
        };
        let graph = fusion.extract(&[output]).map_err(internal)?;
        let session = env.session(&graph)?;
        let wanted: Vec<String> = graph.inputs().into_iter().map(|port| port.name).collect();
        let mut all: Option<Array2<f32>> = None;
        for start in (0..self.rows.len()).step_by(BATCH) {
            let rows = Slice::from(start..(start + BATCH).min(self.rows.len()));
            let mut inputs: Vec<(String, Tensor)> = Vec::new();
            for (at, name) in self.names.iter().enumerate() {
                for (port, shape, values) in self.ports(at, rows, hidden == Some(at)) {
                    let port = format!("{name}.{port}");
                    if wanted.contains(&port) {
                        inputs.push((port, Tensor::f32(&shape, values).map_err(internal)?));
                    }
                }
            }
            let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
            let (_, tensor) = session.run(&inputs)?.remove(0);
            let width = tensor.shape().last().copied().unwrap_or_default();
            let values = tensor.into_f32().map_err(internal)?;
            let all = all.get_or_insert_with(|| Array2::zeros((self.rows.len(), width)));
            let mut part = all.slice_axis_mut(Axis(0), rows);
            part.iter_mut().zip(values).for_each(|(to, from)| *to = from);
        }
        Ok(all.unwrap_or_default())
    }

    /// Returns the mask of the tokens of a modality, or whether each row holds it when it has no tokens.
    pub fn mask(&self, at: usize) -> &Array2<f32> {
        self.tokens[at].as_ref().map_or(&self.present[at], |tokens| &tokens.mask)
    }

    /// Returns the values of the fusion's ports of one modality for some rows: name, shape, values. For a
    /// hidden modality, the vector and the mask are zero.
    fn ports(&self, at: usize, rows: Slice, hidden: bool) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
        let seen = f32::from(u8::from(!hidden));
        let pooled = self.pooled[at].slice_axis(Axis(0), rows);
        let mut ports = vec![("pooled", pooled.shape().to_vec(), pooled.iter().map(|x| x * seen).collect())];
        if let Some(TokenSequences { values, .. }) = &self.tokens[at] {
            let values = values.slice_axis(Axis(0), rows);
            ports.push(("tokens", values.shape().to_vec(), values.iter().copied().collect()));
        }
        let mask = self.mask(at).slice_axis(Axis(0), rows);
        ports.push(("mask", mask.shape().to_vec(), mask.iter().map(|there| there * seen).collect()));
        ports
    }
}

/// Returns the aligned target items of these rows for a retrieval task, or `None` for any other task.
///
/// # Errors
/// If an item cannot be read, or the engine fails.
pub fn retrieval_targets(
    data: &RecipeData,
    modalities: &[ModalityEncoders],
    model: &LearnedModel,
    rows: &[usize],
    env: &Environment,
) -> Result<Option<RetrievalTargets>, Error> {
    let Some(GroundTruth::Others { modality, items }) = data.task.as_ref().map(|task| &task.truth) else {
        return Ok(None);
    };
    let missing = || Error::Internal(format!("the run has no modality {modality:?}"));
    let at = model.place(modality).ok_or_else(missing)?;
    let items = items.of_rows(rows);
    let (embedded, _) = embed_items(&modalities[at], &items, ItemRule::Each, false, false, env)?;
    let sizes: HashMap<usize, usize> =
        embedded.rows.chunk_by(|a, b| a == b).map(|chunk| (chunk[0], chunk.len())).collect();
    let counts = rows.iter().map(|row| sizes.get(row).copied().unwrap_or_default()).collect();
    Ok(Some(RetrievalTargets::new(model.align(at, &embedded, env)?.z, counts)))
}

/// Returns the vector at each index, or zero for `None`.
fn spread(vectors: &Array2<f32>, places: &[Option<usize>]) -> Array2<f32> {
    let mut all = Array2::zeros((places.len(), vectors.ncols()));
    for (mut to, place) in all.outer_iter_mut().zip(places) {
        place.iter().for_each(|place| to.assign(&vectors.row(*place)));
    }
    all
}

/// Returns the sequence at each index, or a fully masked one for `None`.
fn spread_tokens(tokens: TokenSequences, places: &[Option<usize>]) -> TokenSequences {
    let complete: Option<Vec<usize>> = places.iter().copied().collect();
    if complete.is_some_and(|complete| complete.iter().enumerate().all(|(at, place)| at == *place)) {
        return tokens;
    }
    let (_, length, width) = tokens.values.dim();
    let mut all = TokenSequences {
        values: Array3::zeros((places.len(), length.max(1), width)),
        mask: Array2::zeros((places.len(), length.max(1))),
    };
    for (row, place) in places.iter().enumerate().filter_map(|(row, place)| Some((row, (*place)?))) {
        let of = Slice::from(..length);
        let mut values = all.values.index_axis_mut(Axis(0), row);
        values.slice_axis_mut(Axis(0), of).assign(&tokens.values.index_axis(Axis(0), place));
        let mut mask = all.mask.row_mut(row);
        mask.slice_axis_mut(Axis(0), of).assign(&tokens.mask.row(place));
    }
    all
}
