//! Losses of two modalities as pieces of a graph: rows `a [batch, k]` and `b [batch, k]` of length one, where
//! row i of both belongs to example i.
//!
//! Without a [`PairMask`] every example holds both items and no other example shares its row. A mask lifts
//! both limits:
//!
//! ```text
//! InfoNCE, a to b:  sum_i w_i log(1 + sum_{j in N_i} exp(s_ij - s_ii)) / sum_i w_i,   s = a b' / temperature
//! ```
//!
//! w_i is the weight of example i where it holds both items and 0 elsewhere; the negatives N_i are the
//! examples of other rows that hold an item of b. An absent item therefore is no negative and has no loss,
//! and items of one row are never contrasted.

use chiasm_plugin::Result;
use chiasm_plugin::graph::{Builder, DType, Dim, Value};

/// Subtracted from the score of an item that is no candidate: far larger than any score.
const HIDDEN: f32 = 1e9;
/// A batch with a smaller sum of weights holds no pair.
const TINY: f32 = 1e-6;

/// What the examples of a batch hold, where rows lack modalities or stand in several examples.
#[derive(Debug, Clone)]
pub struct BatchMask {
    /// Weights of the examples, `[batch]`.
    weights: Value,
    /// For every modality 1 where the example holds an item of it and 0 elsewhere, `[batch]`.
    present: Vec<Value>,
    /// 1 where two examples are of different rows and 0 elsewhere, `[batch, batch]`.
    other_row: Value,
}

/// The part of a [`BatchMask`] that concerns two modalities.
#[derive(Debug, Clone)]
pub struct PairMask {
    /// Weights of the examples that hold both items, 0 for the others, `[batch]`.
    weights: Value,
    /// `[batch, batch]`: 1 where the second modality's item of column j is a negative of row i, and where the
    /// first modality's item of row i is a negative of column j.
    negatives: [Value; 2],
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
    fn mean(&self, b: &mut Builder, x: &Value) -> Value {
        weighted_mean(b, x, &self.weights)
    }

    /// Scores `[batch, batch]` with those that are no negatives very low.
    fn hide(&self, b: &mut Builder, scores: &Value, direction: usize) -> Value {
        let hidden = b.add_scalar(&self.negatives[direction], -1.0);
        let hidden = b.mul_scalar(&hidden, HIDDEN);
        b.add(scores, &hidden)
    }
}

/// Mean over all elements, a scalar.
pub fn mean(b: &mut Builder, x: &Value) -> Value {
    b.op("ReduceMean", &[x], &[("keepdims", 0.into())])
}

/// `sum w x / sum w`, both `[batch]`; 0 where the weights are.
fn weighted_mean(b: &mut Builder, x: &Value, weights: &Value) -> Value {
    let products = b.mul(x, weights);
    let sum = b.reduce_sum(&products, &[0], false);
    let total = b.reduce_sum(weights, &[0], false);
    let total = b.max_scalar(&total, TINY);
    b.div(&sum, &total)
}

/// The dot products of rows that belong together, `[batch]`.
fn own_scores(b: &mut Builder, first: &Value, second: &Value) -> Value {
    let products = b.mul(first, second);
    b.reduce_sum(&products, &[-1], false)
}

/// All scores, `[batch, batch]`.
fn all_scores(b: &mut Builder, first: &Value, second: &Value) -> Value {
    let transposed = b.transpose(second, &[1, 0]);
    b.matmul(first, &transposed)
}

/// `log sum exp` along an axis of scores, `[batch]`.
fn log_sum_exp(b: &mut Builder, scores: &Value, axis: i64) -> Value {
    let axes: &[i64] = &[axis];
    b.op("ReduceLogSumExp", &[scores], &[("axes", axes.into()), ("keepdims", 0.into())])
}

/// Rows over the temperature: scaling the rows and not their products saves a pass over `[batch, batch]`.
fn sharpened(b: &mut Builder, rows: &Value, log_temperature: &Value) -> Value {
    let sharpness = b.neg(log_temperature);
    let sharpness = b.exp(&sharpness);
    b.mul(rows, &sharpness)
}

/// Symmetric InfoNCE (van den Oord et al. 2018; CLIP's form): cross-entropy of each row's partner among the
/// batch, both ways, at temperature `e^log_temperature`.
pub fn infonce(
    b: &mut Builder,
    first: &Value,
    second: &Value,
    log_temperature: &Value,
    mask: Option<&PairMask>,
) -> Value {
    let scaled = sharpened(b, first, log_temperature);
    let logits = all_scores(b, &scaled, second);
    let Some(mask) = mask else {
        let [forward, backward] = [1, 0].map(|axis| {
            let all = log_sum_exp(b, &logits, axis);
            mean(b, &all)
        });
        let both = b.add(&forward, &backward);
        let both = b.mul_scalar(&both, 0.5);
        let own = own_scores(b, &scaled, second);
        let own = mean(b, &own);
        return b.sub(&both, &own);
    };
    let own = own_scores(b, &scaled, second);
    let [forward, backward] = [0, 1].map(|direction| {
        let hidden = mask.hide(b, &logits, direction);
        let others = log_sum_exp(b, &hidden, 1 - direction as i64);
        let above = b.sub(&others, &own);
        let missed = b.op("Softplus", &[&above], &[]);
        mask.mean(b, &missed)
    });
    let both = b.add(&forward, &backward);
    b.mul_scalar(&both, 0.5)
}

/// SigLIP's loss (Zhai et al. 2023): every pair of rows is classified by itself as matching or not, with
/// logit `cosine / temperature + bias`.
///
/// `mean_i sum_j softplus(logit_ij) - mean_i logit_ii`, which is `-log sigmoid` of each logit with its sign.
/// With a mask j runs over i and its negatives, and the loss is the mean of both directions.
pub fn siglip(
    b: &mut Builder,
    first: &Value,
    second: &Value,
    [log_temperature, bias]: [&Value; 2],
    mask: Option<&PairMask>,
) -> Value {
    let scaled = sharpened(b, first, log_temperature);
    let logits = all_scores(b, &scaled, second);
    let logits = b.add(&logits, bias);
    let losses = b.op("Softplus", &[&logits], &[]);
    let own = own_scores(b, &scaled, second);
    let own = b.add(&own, bias);
    let Some(mask) = mask else {
        let all = b.reduce_sum(&losses, &[-1], false);
        let all = mean(b, &all);
        let own = mean(b, &own);
        return b.sub(&all, &own);
    };
    let own = b.neg(&own);
    let own = b.op("Softplus", &[&own], &[]);
    let own = mask.mean(b, &own);
    let [forward, backward] = [0, 1].map(|direction| {
        let negatives = b.mul(&losses, &mask.negatives[direction]);
        let negatives = b.reduce_sum(&negatives, &[1 - direction as i64], false);
        mask.mean(b, &negatives)
    });
    let both = b.add(&forward, &backward);
    let both = b.mul_scalar(&both, 0.5);
    b.add(&both, &own)
}

/// Mean squared distance of rows that belong together.
pub fn squared(b: &mut Builder, first: &Value, second: &Value, mask: Option<&PairMask>) -> Value {
    let difference = b.sub(first, second);
    let squares = b.mul(&difference, &difference);
    let lengths = b.reduce_sum(&squares, &[-1], false);
    match mask {
        Some(mask) => mask.mean(b, &lengths),
        None => mean(b, &lengths),
    }
}

/// The mean of values of one shape.
pub fn average(b: &mut Builder, values: &[Value]) -> Value {
    let Some((first, rest)) = values.split_first() else { return Value::none() };
    let sum = rest.iter().fold(first.clone(), |sum, value| b.add(&sum, value));
    if rest.is_empty() {
        return sum;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few values")]
    b.mul_scalar(&sum, (values.len() as f32).recip())
}

/// `weight * term` added to a loss.
pub fn plus(b: &mut Builder, loss: &Value, weight: f64, term: &Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    let weighted = b.mul_scalar(term, weight as f32);
    b.add(loss, &weighted)
}
