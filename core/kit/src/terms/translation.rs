//! Translation: an item that is carried to another modality is its partner there.
//!
//! `mean_i |g_b(f_a(u_i)) - v_i|²`, per coordinate, the mean over ordered pairs of modalities, with maps f
//! into the shared space and decoders g out of it. It is the regression of each modality on the others.

use chiasm_plugin::graph::{Builder, Value};

use super::{TermBatch, average, mean_square};

/// The mean over the pairs of modalities and both directions.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, [first, second]| {
        let mask = batch.pair_mask(b, [first, second]);
        let both = [[first, second], [second, first]].map(|[own, other]| {
            let carried = batch.decoders[other].forward(b, &batch.mapped[own], None);
            let errors = mean_square(b, &carried, &batch.source[other]);
            match &mask {
                Some(mask) => mask.mean(b, &errors),
                None => super::mean(b, &errors),
            }
        });
        average(b, &both)
    })
}
