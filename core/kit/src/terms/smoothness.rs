//! Smoothness: the squared Frobenius norm of the maps' Jacobians.
//!
//! `mean_i |J(u_i)|_F² / width` estimated without bias as `|J(u_i) e|² / width` along random signs e, one
//! direction an item (Hutchinson 1990), the mean over the maps. It is L_smooth of Neural Geometry Warping
//! (section 2.5) a column of the image, of the networks before their outputs are brought to length one.

use chiasm_plugin::graph::{Builder, Value};

use super::{TermBatch, mean_of_squares};

/// The mean over the maps.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_networks(b, |b, map| {
        let Some(direction) = &map.direction else { return b.scalar(0.0) };
        let tangent = map.network.directional(b, &map.source, direction);
        let squares = mean_of_squares(b, &tangent);
        batch.mean_of_modality(b, &squares, map.modality)
    })
}
