//! Curvature alignment: the neighbourhood graph has the same curvature at an item in both modalities.
//!
//! ```text
//! sum_i w_i (K(x_i) - K(y_i))² / k²,    K_i = sum_j A_ij (4 - deg_i - deg_j + 3 (A A)_ij) / deg_i
//! ```
//!
//! K is the mean augmented Forman-Ricci curvature of an item's edges (Samal et al. 2018), on soft edges so
//! that it has a derivative: `a_ij = sigmoid((r_i - |x_i - x_j|) / t)` with r_i the distance to the k-th
//! neighbour and t a tenth of its mean, both held constant; `A = a + a' - a a'` elementwise; deg are the row
//! sums of A. It is L_CA of GOTMA (section 2.1) with a curvature that a cloud of points has; a sectional
//! curvature tensor is not determined by one.

use chiasm_plugin::graph::{Builder, Value};

use super::neighbours::nearest;
use super::{RowPair, TermBatch, inner, roots, row_sums, squared_distances};

/// The width of a soft edge, as a share of the mean distance to the k-th neighbour.
const SOFTNESS: f32 = 0.1;
/// Degrees below this count as this.
const TINY: f32 = 1e-12;

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let [x, y] = rows.items.each_ref().map(|items| curvature(b, items, &rows, batch.settings.k));
        let apart = b.sub(&x, &y);
        let squares = b.mul(&apart, &apart);
        let sum = inner(b, &squares, &rows.weights);
        #[expect(clippy::cast_precision_loss, reason = "a few neighbours")]
        b.mul_scalar(&sum, (batch.settings.k as f32).powi(-2))
    })
}

/// K of each row, `[n]`.
fn curvature(b: &mut Builder, items: &Value, rows: &RowPair, k: usize) -> Value {
    let squares = squared_distances(b, items, items);
    let distances = roots(b, &squares);
    let near = nearest(b, &distances, &rows.others, k);
    let reach = near.reach(b);
    let column = b.unsqueeze(&rows.weights, &[1]);
    let width = inner(b, &reach, &column);
    let width = b.mul_scalar(&width, SOFTNESS);
    let inside = b.sub(&reach, &distances);
    let inside = b.div(&inside, &width);
    let directed = b.op("Sigmoid", &[&inside], &[]);
    let directed = b.mul(&directed, &rows.others);
    let back = b.transpose(&directed, &[1, 0]);
    let sum = b.add(&directed, &back);
    let both = b.mul(&directed, &back);
    let edges = b.sub(&sum, &both);
    let degrees = b.reduce_sum(&edges, &[1], true);
    let degrees = b.max_scalar(&degrees, TINY);
    let back = b.transpose(&degrees, &[1, 0]);
    let triangles = b.matmul(&edges, &edges);
    let ricci = b.mul_scalar(&triangles, 3.0);
    let ricci = b.sub(&ricci, &degrees);
    let ricci = b.sub(&ricci, &back);
    let ricci = b.add_scalar(&ricci, 4.0);
    let weighted = b.mul(&edges, &ricci);
    let weighted = b.div(&weighted, &degrees);
    row_sums(b, &weighted)
}
