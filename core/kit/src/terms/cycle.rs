//! Cycle consistency: an item that is carried to another modality and back is itself again.
//!
//! `mean_i |g_a(f_b(g_b(f_a(u_i)))) - u_i|²`, per coordinate, the mean over ordered pairs of modalities, with
//! maps f into the shared space and decoders g out of it: `g_b f_a` carries an item of a to modality b. It is
//! L_cycle of Neural Geometry Warping (section 2.3) for any number of modalities.
//!
//! Where no other term reads all examples of a batch, each makes one of the two round trips of a pair: those
//! at even places start from the first modality and those at odd places from the second. The order of a batch
//! is random, so that this estimates the means over all examples without bias, at half of the cost.

use chiasm_plugin::graph::{Builder, Value};

use super::batch::BatchPart;
use super::{TermBatch, average, mean_square};

/// The mean over the pairs of modalities and both directions.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, [first, second]| {
        let both = [([first, second], false), ([second, first], true)].map(|([own, other], odd)| {
            let part = if batch.maps_parts { BatchPart::Half { odd } } else { BatchPart::All };
            let carried = batch.carried(b, [own, other], part);
            let mapped = batch.maps[other].forward(b, &carried, None);
            let mapped = b.l2_normalise(&mapped, -1, crate::LEAST_LENGTH);
            let back = batch.decoders[own].forward(b, &mapped, None);
            let source = batch.part(b, &batch.source[own], part);
            let errors = mean_square(b, &back, &source);
            batch.mean_of_part(b, &errors, own, part)
        });
        average(b, &both)
    })
}
