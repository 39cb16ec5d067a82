//! Smoothness: the squared Frobenius norm of the maps' Jacobians.
//!
//! `mean_i |J(u_i)|_F² / width` estimated without bias as `|J(u_i) e|² / width` along random signs e, one
//! direction an item (Hutchinson 1990), the mean over the maps. It is L_smooth of Neural Geometry Warping
//! (section 2.5) a column of the image. Images of length one count as scaled to a mean square of one a
//! column, so that shrinking the outputs of a network does not lower the term. The mean is over the first
//! 64 examples of the shuffled batch, an unbiased estimate of that over all.

use chiasm_plugin::graph::{Builder, Value};

use super::batch::BatchPart;
use super::{TermBatch, mean_of_squares, row_dots};

/// The examples of a batch whose Jacobians are estimated.
const ROWS: usize = 64;
/// Below this length an output counts as this long.
const TINY: f32 = 1e-12;

/// The mean over the maps.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    let part = BatchPart::First(ROWS);
    batch.mean_over_networks(b, |b, map| {
        let Some(direction) = &map.direction else { return b.scalar(0.0) };
        let direction = batch.part(b, direction, part);
        let values = map.values.at(|rows| batch.part(b, rows, part));
        let tangent = map.network.directional(b, &values, &direction);
        let squares = if map.unit {
            of_unit_vectors(b, &values.output, &tangent)
        } else {
            mean_of_squares(b, &tangent)
        };
        batch.mean_of_part(b, &squares, map.modality, part)
    })
}

/// `|d (y / |y|)|² = (|dy|² - (y dy)² / |y|²) / |y|²` for outputs y and their tangents, `[batch]`.
fn of_unit_vectors(b: &mut Builder, output: &Value, tangent: &Value) -> Value {
    let pairs = [(output, output), (output, tangent), (tangent, tangent)];
    let [length, along, squares] = pairs.map(|(x, y)| row_dots(b, x, y));
    let length = b.max_scalar(&length, TINY);
    let along = b.mul(&along, &along);
    let along = b.div(&along, &length);
    let across = b.sub(&squares, &along);
    b.div(&across, &length)
}
