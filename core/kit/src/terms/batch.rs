//! What a term reads of a mini-batch.

use chiasm_plugin::graph::{Builder, DType, Value};

use super::{TermSettings, average, first_along, first_rows, inner, mean, normalised, outer, weighted_mean};
use crate::batch_mask::{BatchMask, PairMask};
use crate::network::{BoundNetwork, NetworkValues};

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
    /// Whether the maps are evaluated on the parts of the batch that terms read, instead of on all of it:
    /// `mapped` is then read by no term, and an example makes one of the two round trips of `cycle`. The maps
    /// get neither noise nor dropout.
    pub maps_parts: bool,
    /// Unit vectors after the closed form that the map starts from, of the first `structure_rows` examples,
    /// `[n, width]`.
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

/// A map whose images keep a distance and whose Jacobians are small, with its values for the first
/// `structure_rows` examples.
#[derive(Debug, Clone)]
pub struct TermNetwork {
    /// The modality whose items it maps.
    pub modality: usize,
    /// The map.
    pub network: BoundNetwork,
    /// Its values without noise and dropout.
    pub values: NetworkValues,
    /// Its images, of mean length one, `[n, width]`.
    pub images: Value,
    /// Whether the outputs of the map are brought to length one.
    pub unit: bool,
    /// Random signs, `[n, r]`; `None` without `smoothness`.
    pub direction: Option<Value>,
}

/// A part of a batch, whose order is random.
#[derive(Debug, Clone, Copy)]
pub(super) enum BatchPart {
    /// All examples.
    All,
    /// The first `structure_rows` examples.
    Structure,
    /// The first examples, this many at most.
    First(usize),
    /// The examples at even places, or those at odd places.
    Half {
        /// Which of the two.
        odd: bool,
    },
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

    /// The examples of a part of the batch.
    pub(super) fn part(&self, b: &mut Builder, x: &Value, part: BatchPart) -> Value {
        match part {
            BatchPart::All => x.clone(),
            BatchPart::Structure => first_rows(b, x, self.settings.structure_rows),
            BatchPart::First(count) => first_rows(b, x, count),
            BatchPart::Half { odd } => {
                let start = b.ints("start", &[i64::from(odd)]);
                let [end, axis, step] = [i64::MAX, 0, 2].map(|bound| b.ints("bound", &[bound]));
                b.op("Slice", &[x, &start, &end, &axis, &step], &[])
            }
        }
    }

    /// The coordinates of a part of the batch, carried from a modality to another.
    pub(super) fn carried(&self, b: &mut Builder, [own, other]: [usize; 2], part: BatchPart) -> Value {
        if !self.maps_parts {
            // Other terms carry all rows too.
            let carried = self.decoders[other].forward(b, &self.mapped[own], None);
            return self.part(b, &carried, part);
        }
        let rows = self.part(b, &self.source[own], part);
        let mapped = self.maps[own].forward(b, &rows, None);
        let mapped = b.l2_normalise(&mapped, -1, crate::LEAST_LENGTH);
        self.decoders[other].forward(b, &mapped, None)
    }

    /// The mean of `x` over the examples of a part that hold a modality; 0 if there are none.
    pub(super) fn mean_of_part(&self, b: &mut Builder, x: &Value, modality: usize, part: BatchPart) -> Value {
        let Some(mask) = self.mask else {
            let weights = equal_weights(b, x);
            return inner(b, x, &weights);
        };
        let weights = b.mul(&mask.weights, &mask.present[modality]);
        let weights = self.part(b, &weights, part);
        weighted_mean(b, x, &weights)
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

    /// The first `structure_rows` examples of two modalities, with their vectors after the closed form.
    pub(super) fn start_rows(&self, b: &mut Builder, pair: [usize; 2]) -> RowPair {
        self.weighted(b, pair.map(|modality| self.start[modality].clone()), pair)
    }

    /// The first `structure_rows` examples of the modality of a map, with the map's images.
    pub(super) fn network_rows(&self, b: &mut Builder, map: &TermNetwork) -> RowPair<1> {
        self.weighted(b, [map.images.clone()], [map.modality])
    }

    fn compared_rows<const N: usize>(
        &self,
        b: &mut Builder,
        values: [&Value; N],
        modalities: [usize; N],
    ) -> RowPair<N> {
        let items = values.map(|value| self.part(b, value, BatchPart::Structure));
        self.weighted(b, items, modalities)
    }

    /// The first `structure_rows` examples, given their vectors.
    fn weighted<const N: usize>(
        &self,
        b: &mut Builder,
        items: [Value; N],
        modalities: [usize; N],
    ) -> RowPair<N> {
        let count = self.settings.structure_rows;
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
