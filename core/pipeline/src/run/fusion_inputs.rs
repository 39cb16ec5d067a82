//! Rows as a fusion sees them: of every modality one aligned vector, and the tokens of one item with their
//! mask.
//!
//! The first item of a row stands for its modality. A modality that the row lacks has a vector of zeros and a
//! mask of zeros.

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

/// Rows that go through the fusion at once.
const BATCH: usize = 256;
/// Below this length a vector counts as zero.
const TINY: f32 = 1e-12;

/// Some rows as a fusion sees them.
pub struct FusionInputs {
    /// The rows.
    pub rows: Vec<usize>,
    /// The modalities, in order.
    pub names: Vec<String>,
    /// AlignedItems vectors of each modality, `[rows, k]`; zero where the row lacks it.
    pub pooled: Vec<Array2<f32>>,
    /// TokenSequences of each modality, where they were embedded.
    pub tokens: Vec<Option<TokenSequences>>,
    /// For retrieval, what is to be found.
    pub targets: Option<RetrievalTargets>,
}

/// Items to be found: aligned unit vectors, and how many of them belong to each row, in order.
pub struct RetrievalTargets {
    /// `[items, k]`.
    pub items: Array2<f32>,
    /// Items of each row.
    pub counts: Vec<usize>,
}

impl RetrievalTargets {
    /// AlignedItems vectors, brought to unit length.
    pub fn new(mut items: Array2<f32>, counts: Vec<usize>) -> Self {
        for mut row in items.rows_mut() {
            let length = row.dot(&row).sqrt().max(TINY);
            row.mapv_inplace(|x| x / length);
        }
        Self { items, counts }
    }

    /// The mean of each row's items: what the fused vector should be near to.
    pub fn means(&self) -> Array2<f32> {
        means(&self.items, &self.counts)
    }
}

impl FusionInputs {
    /// These rows of embedded items, through the heads of a model. `targets` are those of a retrieval task.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn of(
        model: &LearnedModel,
        embedded: &[EmbeddedItems],
        rows: &[usize],
        targets: Option<RetrievalTargets>,
        env: &Environment,
    ) -> Result<Self, Error> {
        let (mut names, mut pooled, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        for (at, own) in embedded.iter().enumerate() {
            let first = own.select(rows).first_of_rows();
            let place: HashMap<usize, usize> =
                first.rows.iter().enumerate().map(|(at, row)| (*row, at)).collect();
            let places: Vec<Option<usize>> = rows.iter().map(|row| place.get(row).copied()).collect();
            pooled.push(spread(&model.align(at, &first, env)?.z, &places));
            tokens.push(first.sequences().map(|sequences| spread_tokens(sequences, &places)));
            names.push(own.name.clone());
        }
        Ok(Self { rows: rows.to_vec(), names, pooled, tokens, targets })
    }

    /// The fusion's output of this name for every row, with one modality hidden or none.
    ///
    /// # Errors
    /// When there is no fusion or no such output, or the engine refuses.
    pub fn outputs(
        &self,
        model: &LearnedModel,
        output: &str,
        hidden: Option<usize>,
        env: &Environment,
    ) -> Result<Array2<f32>, Error> {
        let internal = |e: chiasm_graph::Error| Error::Internal(e.to_string());
        let Some(fusion) = &model.fusion else { return Err(Error::Internal("no fusion to ask".to_owned())) };
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

    /// What the fusion's ports of one modality get for some rows: name, shape, values. A hidden modality has
    /// a vector and a mask of zeros.
    fn ports(&self, at: usize, rows: Slice, hidden: bool) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
        let seen = f32::from(u8::from(!hidden));
        let pooled = self.pooled[at].slice_axis(Axis(0), rows);
        let mut ports = vec![("pooled", pooled.shape().to_vec(), pooled.iter().map(|x| x * seen).collect())];
        if let Some(TokenSequences { values, mask }) = &self.tokens[at] {
            let (values, mask) = (values.slice_axis(Axis(0), rows), mask.slice_axis(Axis(0), rows));
            ports.push(("tokens", values.shape().to_vec(), values.iter().copied().collect()));
            ports.push(("mask", mask.shape().to_vec(), mask.iter().map(|there| there * seen).collect()));
        }
        ports
    }
}

/// For a retrieval task, the items to be found of these rows, through their head; `None` for any other task.
///
/// # Errors
/// When an item cannot be read, or the engine refuses.
pub fn targets(
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

/// The vector at each place; zero where there is none.
fn spread(vectors: &Array2<f32>, places: &[Option<usize>]) -> Array2<f32> {
    let mut all = Array2::zeros((places.len(), vectors.ncols()));
    for (mut to, place) in all.outer_iter_mut().zip(places) {
        place.iter().for_each(|place| to.assign(&vectors.row(*place)));
    }
    all
}

/// The sequence at each place; one that is all masked where there is none.
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
