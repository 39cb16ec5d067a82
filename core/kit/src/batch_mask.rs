//! What the examples of a mini-batch hold, as pieces of a training graph.

use chiasm_plugin::Result;
use chiasm_plugin::graph::{Builder, DType, Dim, Value};

use crate::terms::weighted_mean;

/// Subtracted from the score of an item that is no candidate: far larger than any score.
const HIDDEN: f32 = 1e9;

/// What the examples of a batch hold, where rows lack modalities or stand in several examples.
#[derive(Debug, Clone)]
pub struct BatchMask {
    /// Weights of the examples, `[batch]`.
    pub(crate) weights: Value,
    /// For every modality 1 where the example holds an item of it and 0 elsewhere, `[batch]`.
    pub(crate) present: Vec<Value>,
    /// 1 where two examples are of different rows and 0 elsewhere, `[batch, batch]`.
    pub(crate) other_row: Value,
}

/// The part of a [`BatchMask`] that concerns two modalities.
#[derive(Debug, Clone)]
pub struct PairMask {
    /// Weights of the examples that hold both items, 0 for the others, `[batch]`.
    pub(crate) weights: Value,
    /// `[batch, batch]`: 1 where the second modality's item of column j is a negative of row i, and where the
    /// first modality's item of row i is a negative of column j.
    pub(crate) negatives: [Value; 2],
}

impl BatchMask {
    /// Adds the ports that describe a batch: `example/row` i64 `[batch]`, the row of each example;
    /// `example/weight` f32 `[batch]`; and `present/<modality>` f32 `[batch]` of 0 and 1.
    ///
    /// # Errors
    /// When a port of that name exists already.
    pub fn new(b: &mut Builder, modalities: &[&str]) -> Result<Self> {
        let batch = [Dim::named("batch")];
        let rows = b.input("example/row", DType::I64, &batch)?;
        let weights = b.input("example/weight", DType::F32, &batch)?;
        let present = modalities
            .iter()
            .map(|name| Ok(b.input(&format!("present/{name}"), DType::F32, &batch)?))
            .collect::<Result<_>>()?;
        let (column, row) = (b.unsqueeze(&rows, &[1]), b.unsqueeze(&rows, &[0]));
        let same = b.op("Equal", &[&column, &row], &[]);
        let other = b.op("Not", &[&same], &[]);
        let other_row = b.cast(&other, DType::F32);
        Ok(Self { weights, present, other_row })
    }

    /// Hides items at random: modality m of example i counts as absent where `kept[m]` f32 `[batch]` is 0.
    #[must_use]
    pub fn dropped(mut self, b: &mut Builder, kept: &[Value]) -> Self {
        for (present, kept) in self.present.iter_mut().zip(kept) {
            let kept = b.sign(kept);
            *present = b.mul(present, &kept);
        }
        self
    }

    /// The mask of two modalities, by their places.
    pub fn pair(&self, b: &mut Builder, [first, second]: [usize; 2]) -> PairMask {
        let [first, second] = [&self.present[first], &self.present[second]];
        let weights = b.mul(&self.weights, first);
        let weights = b.mul(&weights, second);
        let (rows, columns) = (b.unsqueeze(first, &[1]), b.unsqueeze(second, &[0]));
        let negatives = [b.mul(&self.other_row, &columns), b.mul(&self.other_row, &rows)];
        PairMask { weights, negatives }
    }

    /// The mean of `x [batch]` over the examples that hold this modality, each with its weight; 0 where none
    /// does.
    pub fn mean(&self, b: &mut Builder, x: &Value, modality: usize) -> Value {
        let weights = b.mul(&self.weights, &self.present[modality]);
        weighted_mean(b, x, &weights)
    }
}

impl PairMask {
    /// The mean of `x [batch]` over the examples that hold both items, each with its weight; 0 where none
    /// does.
    pub(crate) fn mean(&self, b: &mut Builder, x: &Value) -> Value {
        weighted_mean(b, x, &self.weights)
    }

    /// Scores `[batch, batch]` with those that are no negatives very low.
    pub(crate) fn hide(&self, b: &mut Builder, scores: &Value, direction: usize) -> Value {
        let hidden = b.add_scalar(&self.negatives[direction], -1.0);
        let hidden = b.mul_scalar(&hidden, HIDDEN);
        b.add(scores, &hidden)
    }
}
