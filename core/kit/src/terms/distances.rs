//! Distance-matrix alignment: items lie as far from each other in both modalities.
//!
//! `sum_ij w_i w_j (D_ij / mean D - E_ij / mean E)²` with the Euclidean distances D and E within the two
//! modalities. It is L_DistAlign, `|D - E|_F²`, of "Explicit Geometric Alignment" (section 3.2.2) as a mean,
//! in units of each modality's mean distance, so that shrinking both clouds does not lower it.

use chiasm_plugin::graph::{Builder, Value};

use super::{TermBatch, inner, outer, roots, squared_distances};

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let weights = outer(b, &rows.weights, &rows.weights);
        let [d, e] = rows.items.each_ref().map(|items| {
            let squares = squared_distances(b, items, items);
            let distances = roots(b, &squares);
            let mean = inner(b, &distances, &weights);
            let mean = b.max_scalar(&mean, 1e-9);
            b.div(&distances, &mean)
        });
        let difference = b.sub(&d, &e);
        let squares = b.mul(&difference, &difference);
        inner(b, &squares, &weights)
    })
}
