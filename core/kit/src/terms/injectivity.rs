//! The injectivity hinge: the images of different items of a modality keep a distance.
//!
//! `sum_{i != j} w_i w_j max(0, margin - |z_i - z_j|)`, the mean over the maps. It is L_inj of Neural
//! Geometry Warping (section 2.5).

use chiasm_plugin::graph::{Builder, Value};

use super::{TermBatch, inner, outer, roots, squared_distances};

/// The mean over the maps.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    let margin = batch.settings.margin as f32;
    batch.mean_over_networks(b, |b, map| {
        let rows = batch.network_rows(b, map);
        let squares = squared_distances(b, &rows.items[0], &rows.items[0]);
        let distances = roots(b, &squares);
        let short = b.neg(&distances);
        let short = b.add_scalar(&short, margin);
        let short = b.max_scalar(&short, 0.0);
        let short = b.mul(&short, &rows.others);
        let weights = outer(b, &rows.weights, &rows.weights);
        inner(b, &short, &weights)
    })
}
