//! Whether the vectors of an encoder depend on the batch that an item is embedded in.
//!
//! They should not, but they do if nothing hides padding from the model, or if it computes the scale of a
//! dynamic quantisation from the whole batch. Some items are embedded again: alone, together, and in another
//! order in small batches. The vectors are compared with those that the maps were fitted on.

use super::{
    EmbeddedItems, means,
    shard::{ShardRun, open, run},
};
use crate::{
    base::{environment::Environment, error::Error, reporter::StageProgress},
    catalog::{dataset::RawItems, encoder::Encoder, raw::RawItem},
    plan::ModalityEncoders,
};
use chiasm_runtime::BatchLimits;
use ndarray::{Array2, ArrayView1, Axis, Slice};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest difference without a warning. ONNX Runtime may order the sums of a batch differently.
pub const EXPECTED: f32 = 1e-4;
/// The largest difference with which a run is written. Dynamic quantisation to 8 bits gives about 2e-2.
pub const LIMIT: f32 = 0.1;
/// The most items that are embedded again.
const ITEMS: usize = 16;
/// Items of a batch of the third pass.
const SMALL_BATCH: usize = 3;

/// The largest absolute differences between the vectors of items that are embedded again and the vectors that
/// maps were fitted on. Both are scaled to length one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchEffect {
    /// The number of rows that were compared.
    pub rows: usize,
    /// Every item in a batch of its own.
    pub alone: f32,
    /// All items together, in batches of the usual size.
    pub together: f32,
    /// The items in reverse order, in batches of three.
    pub reordered: f32,
}

impl BatchEffect {
    /// Returns the largest difference.
    pub fn largest(&self) -> f32 {
        self.alone.max(self.together).max(self.reordered)
    }
}

/// Embeds some items of one modality again. `items` holds the items of the vectors `fitted`, with several
/// items for a row whose vector is their mean. The result has an entry for each encoder but files of vectors.
///
/// # Errors
/// If an item cannot be read any more, or the engine fails.
pub fn batch_effects(
    modality: &ModalityEncoders,
    items: &RawItems,
    fitted: &EmbeddedItems,
    env: &Environment,
) -> Result<BTreeMap<String, BatchEffect>, Error> {
    let rows = chosen_rows(items, &fitted.rows);
    let (items, fitted) = (items.of_rows(&rows), fitted.select(&rows));
    let counts: Vec<usize> = items.rows.chunk_by(|a, b| a == b).map(<[usize]>::len).collect();
    let averaged = fitted.rows.len() != items.raw.len();
    let mut effects = BTreeMap::new();
    let mut start = 0;
    for encoder in &modality.encoders {
        let columns = Slice::from(start..start + encoder.pooled_dim);
        start += encoder.pooled_dim;
        if encoder.rows.is_some() || items.raw.is_empty() {
            continue;
        }
        let expected = fitted.pooled.view();
        let expected = expected.slice_axis(Axis(1), columns);
        let again = Reembedding::of(encoder, &modality.name, &items.raw, env)?;
        let difference = |limits: Option<BatchLimits>, reversed: bool| -> Result<f32, Error> {
            let vectors = again.vectors(limits, reversed)?;
            let vectors = if averaged { means(vectors.view(), &counts) } else { vectors };
            let pairs = expected.outer_iter().zip(vectors.outer_iter());
            Ok(pairs.map(|(a, b)| unit_difference(a, b)).fold(0.0, f32::max))
        };
        let effect = BatchEffect {
            rows: rows.len(),
            alone: difference(Some(rows_of(1)), false)?,
            together: difference(None, false)?,
            reordered: difference(Some(rows_of(SMALL_BATCH)), true)?,
        };
        effects.insert(encoder.name.clone(), effect);
    }
    Ok(effects)
}

/// Returns rows at equal distances that have at most [`ITEMS`] items together, or one row.
fn chosen_rows(items: &RawItems, fitted: &[usize]) -> Vec<usize> {
    let mut all = fitted.to_vec();
    all.dedup();
    let count = all.len().min(ITEMS);
    let spread = (0..count).map(|at| all[at * all.len() / count]);
    let mut total = 0;
    spread
        .take_while(|row| {
            let before = total;
            total += items.rows.iter().filter(|own| *own == row).count();
            before == 0 || total <= ITEMS
        })
        .collect()
}

fn rows_of(rows: usize) -> BatchLimits {
    BatchLimits { rows, steps: usize::MAX, bytes: usize::MAX }
}

/// Returns the largest absolute difference of two vectors scaled to length one; infinite if one is NaN.
fn unit_difference(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    let scale = |x: ArrayView1<'_, f32>| x.dot(&x).sqrt().max(f32::MIN_POSITIVE);
    let (long_a, long_b) = (scale(a), scale(b));
    let difference = |(a, b): (&f32, &f32)| (a / long_a - b / long_b).abs();
    let worst = |x: f32, y: f32| if y.is_nan() { f32::INFINITY } else { x.max(y) };
    a.iter().zip(&b).map(difference).fold(0.0, worst)
}

/// An encoder with the items that it embeds again.
struct Reembedding<'a> {
    encoder: &'a Encoder,
    modality: &'a str,
    items: &'a [RawItem],
    session: chiasm_runtime::Session,
    env: &'a Environment,
}

impl<'a> Reembedding<'a> {
    fn of(
        encoder: &'a Encoder,
        modality: &'a str,
        items: &'a [RawItem],
        env: &'a Environment,
    ) -> Result<Self, Error> {
        Ok(Self { encoder, modality, items, session: open(encoder, false, env)?, env })
    }

    /// Returns the pooled vectors of the items, in their order; `reversed` embeds the last one first.
    fn vectors(&self, limits: Option<BatchLimits>, reversed: bool) -> Result<Array2<f32>, Error> {
        let mut items: Vec<&RawItem> = self.items.iter().collect();
        if reversed {
            items.reverse();
        }
        let stage = format!("embed {} again ({})", self.modality, self.encoder.name);
        let steps = StageProgress::begin(&*self.env.reporter, &stage, items.len());
        let request = ShardRun { encoder: self.encoder, items: &items, width: None, skip_bad: false, limits };
        let unreadable = |(index, reason): (usize, String)| {
            let message = format!("cannot read {} again: {reason}", items[index].describe());
            Error::input("chiasm::data::unreadable_item", message, "do not change the data during a fit")
        };
        let mut vectors = run(&request, &self.session, self.env, &steps)?.map_err(unreadable)?.pooled;
        if reversed {
            vectors.invert_axis(Axis(0));
        }
        Ok(vectors)
    }
}
