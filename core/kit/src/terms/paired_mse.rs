//! The mean squared distance of items that belong together.
//!
//! `mean_i |a_i - b_i|²`. For paired rows it is the squared 2-Wasserstein distance under the identity plan
//! (OT-Align&Merge, section 3.3).

use chiasm_plugin::graph::{Builder, Value};

use super::{PairMask, TermBatch, mean, row_dots};

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, [first, second]| {
        let mask = batch.pair_mask(b, [first, second]);
        paired_mse(b, &batch.mapped[first], &batch.mapped[second], mask.as_ref())
    })
}

/// Mean squared distance of the rows of `first` and `second`, both `[batch, k]`.
pub fn paired_mse(b: &mut Builder, first: &Value, second: &Value, mask: Option<&PairMask>) -> Value {
    let difference = b.sub(first, second);
    let lengths = row_dots(b, &difference, &difference);
    match mask {
        Some(mask) => mask.mean(b, &lengths),
        None => mean(b, &lengths),
    }
}
