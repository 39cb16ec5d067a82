//! What a term reads of a mini-batch.

use chiasm_plugin::graph::{Builder, DType, Value};

use super::{TermSettings, average, first_along, first_rows, mean, normalised, outer};
use crate::batch_mask::{BatchMask, PairMask};
use crate::network::BoundNetwork;

/// The values of a mini-batch that terms read. Lists have an entry for each modality.
#[derive(Debug, Clone, Copy)]
pub struct TermBatch<'a> {
    /// The pairs of modalities that are compared, by their places.
    pub pairs: &'a [(usize, usize)],
    /// The modality that the others are compared with by [`gram_volume`](super).
    pub anchor: usize,
    /// What the examples hold; without it every example is a row with one item of each modality.
    pub mask: Option<&'a BatchMask>,
    /// The class of each example, i64 `[batch]`, -1 for examples without a label; `None` without labels.
    pub labels: Option<&'a Value>,
    /// Centred coordinates before the map, `[batch, r]`.
    pub source: &'a [Value],
    /// Unit vectors after the map, `[batch, width]`.
    pub mapped: &'a [Value],
    /// Unit vectors after the closed form that the map starts from, `[batch, width]`.
    pub start: &'a [Value],
    /// The maps that `injectivity` and `smoothness` concern.
    pub networks: &'a [TermNetwork],
    /// The maps.
    pub maps: &'a [BoundNetwork],
    /// Networks from the shared space back to the coordinates; empty if no term needs them.
    pub decoders: &'a [BoundNetwork],
    /// Columns of the shared space.
    pub width: usize,
    /// The logarithm of the temperature of scores, a scalar.
    pub log_tau: &'a Value,
    /// The bias of SigLIP's logits, a scalar.
    pub bias: &'a Value,
    /// Settings.
    pub settings: TermSettings,
}

/// A map whose images keep a distance and whose Jacobians are small.
#[derive(Debug, Clone)]
pub struct TermNetwork {
    /// The modality whose items it maps.
    pub modality: usize,
    /// The map.
    pub network: BoundNetwork,
    /// Its inputs, `[batch, r]`.
    pub source: Value,
    /// Its images, of mean length one, `[batch, width]`.
    pub images: Value,
    /// Whether the outputs of the map are brought to length one.
    pub unit: bool,
    /// Random signs, `[batch, r]`; `None` without `smoothness`.
    pub direction: Option<Value>,
}

/// Rows of a batch that a term over all pairs of items compares, `n` of them.
#[derive(Debug, Clone)]
pub struct RowPair<const N: usize = 2> {
    /// Vectors, `[n, width]`.
    pub items: [Value; N],
    /// The weight of each row that holds an item of both modalities, `[n]`; they sum to one.
    pub weights: Value,
    /// For each modality the weight of each row that holds an item of it, `[n]`; they sum to one.
    pub own: [Value; N],
    /// 1 where two examples are of different rows and both count, else 0, `[n, n]`.
    pub others: Value,
}

impl TermBatch<'_> {
    /// The mean of a value over the pairs of modalities.
    pub(super) fn mean_over_pairs(
        &self,
        b: &mut Builder,
        mut value: impl FnMut(&mut Builder, [usize; 2]) -> Value,
    ) -> Value {
        let values: Vec<Value> = self.pairs.iter().map(|&(x, y)| value(b, [x, y])).collect();
        average(b, &values)
    }

    /// The mean of a value over the modalities.
    pub(super) fn mean_over_modalities(
        &self,
        b: &mut Builder,
        mut value: impl FnMut(&mut Builder, usize) -> Value,
    ) -> Value {
        let values: Vec<Value> = (0..self.mapped.len()).map(|modality| value(b, modality)).collect();
        average(b, &values)
    }

    /// The mean of a value over the maps.
    pub(super) fn mean_over_networks(
        &self,
        b: &mut Builder,
        mut value: impl FnMut(&mut Builder, &TermNetwork) -> Value,
    ) -> Value {
        let values: Vec<Value> = self.networks.iter().map(|network| value(b, network)).collect();
        average(b, &values)
    }

    /// The sum of a value over the modalities.
    pub(super) fn sum_over_modalities(
        &self,
        b: &mut Builder,
        value: impl FnMut(&mut Builder, usize) -> Value,
    ) -> Value {
        let mean = self.mean_over_modalities(b, value);
        #[expect(clippy::cast_precision_loss, reason = "a few modalities")]
        b.mul_scalar(&mean, self.mapped.len() as f32)
    }

    /// The mean of `x [batch]` over the examples that hold a modality.
    pub(super) fn mean_of_modality(&self, b: &mut Builder, x: &Value, modality: usize) -> Value {
        match self.mask {
            Some(mask) => mask.mean(b, x, modality),
            None => mean(b, x),
        }
    }

    /// The mask of two modalities.
    pub(super) fn pair_mask(&self, b: &mut Builder, pair: [usize; 2]) -> Option<PairMask> {
        self.mask.map(|mask| mask.pair(b, pair))
    }

    /// The first `structure_rows` examples of two modalities, with their vectors of `of`.
    pub(super) fn rows(&self, b: &mut Builder, of: &[Value], pair: [usize; 2]) -> RowPair {
        self.compared_rows(b, pair.map(|modality| &of[modality]), pair)
    }

    /// The first `structure_rows` examples of one modality, with their vectors of each of `values`.
    pub(super) fn modality_rows<const N: usize>(
        &self,
        b: &mut Builder,
        values: &[&Value; N],
        modality: usize,
    ) -> RowPair<N> {
        self.compared_rows(b, *values, [modality; N])
    }

    fn compared_rows<const N: usize>(
        &self,
        b: &mut Builder,
        values: [&Value; N],
        modalities: [usize; N],
    ) -> RowPair<N> {
        let count = self.settings.structure_rows;
        let items = values.map(|value| first_rows(b, value, count));
        let Some(mask) = self.mask else {
            let weights = equal_weights(b, &items[0]);
            let own = modalities.map(|_| weights.clone());
            let others = different_rows(b, &items[0]);
            return RowPair { items, weights, own, others };
        };
        let base = first_rows(b, &mask.weights, count);
        let present = modalities.map(|modality| first_rows(b, &mask.present[modality], count));
        let own = present.each_ref().map(|present| {
            let weights = b.mul(&base, present);
            normalised(b, &weights)
        });
        let all = present.iter().skip(1).fold(present[0].clone(), |all, one| b.mul(&all, one));
        let weights = b.mul(&base, &all);
        let weights = normalised(b, &weights);
        let others = first_along(b, &mask.other_row, count, &[0, 1]);
        let both = outer(b, &all, &all);
        let others = b.mul(&others, &both);
        RowPair { items, weights, own, others }
    }
}

/// `1 / n` for each of n rows, `[n]`.
fn equal_weights(b: &mut Builder, rows: &Value) -> Value {
    let count = count(b, rows);
    let one = b.scalar(1.0);
    let ones = b.expand(&one, &count);
    normalised(b, &ones)
}

/// The number of rows, i64 `[1]`.
fn count(b: &mut Builder, rows: &Value) -> Value {
    let shape = b.shape(rows);
    let first = b.ints("first", &[0]);
    b.gather(&shape, &first, 0)
}

/// 1 off the diagonal and 0 on it, `[n, n]`.
fn different_rows(b: &mut Builder, rows: &Value) -> Value {
    let count = count(b, rows);
    let count = b.squeeze(&count, &[0]);
    let (zero, one) = (b.ints("zero", &[0]), b.ints("one", &[1]));
    let (zero, one) = (b.squeeze(&zero, &[0]), b.squeeze(&one, &[0]));
    let places = b.op("Range", &[&zero, &count, &one], &[]);
    let (column, row) = (b.unsqueeze(&places, &[1]), b.unsqueeze(&places, &[0]));
    let same = b.op("Equal", &[&column, &row], &[]);
    let different = b.op("Not", &[&same], &[]);
    b.cast(&different, DType::F32)
}
