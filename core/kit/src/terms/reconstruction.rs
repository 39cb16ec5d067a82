//! Reconstruction: decoders recover the items from their images.
//!
//! `mean_i |g(f(u_i)) - u_i|²`, per coordinate, the sum over the modalities. The coordinates have a mean
//! square of one, so the value is the share of the variance that is lost. It is L_recon of OT-Align&Merge
//! (section 3.5).

use chiasm_plugin::graph::{Builder, Value};

use super::{TermBatch, mean_square};

/// The sum over the modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.sum_over_modalities(b, |b, modality| {
        let rebuilt = batch.decoders[modality].forward(b, &batch.mapped[modality], None);
        let errors = mean_square(b, &rebuilt, &batch.source[modality]);
        batch.mean_of_modality(b, &errors, modality)
    })
}
