//! Regression on the barycentric targets of a transport plan.
//!
//! ```text
//! sum_i a_i |g_b(f_a(u_i)) - t_i|²,    t_i = sum_j P_ij v_j / sum_j P_ij
//! ```
//!
//! per coordinate, the mean over ordered pairs of modalities. P is the entropic plan between the clouds after
//! the closed form that training starts from, because squared distances need one space; it is held constant.
//! It is L_A->B + L_B->A of Neural Geometry Warping (section 2.3) with the plan of a mini-batch in place of
//! that of all items (Fatras et al. 2020).

use chiasm_plugin::graph::{Builder, Value};

use super::batch::BatchPart;
use super::sinkhorn::{epsilon, plan};
use super::{TermBatch, average, inner, mean_square, squared_distances};

/// Below this the mass of a row counts as this.
const TINY: f32 = 1e-30;

/// The mean over the pairs of modalities and both directions.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.start_rows(b, pair);
        let cost = squared_distances(b, &rows.items[0], &rows.items[1]);
        let scale = epsilon(b, &cost, rows.own.each_ref(), batch.settings.epsilon);
        let there = plan(b, &cost, rows.own.each_ref(), &scale).plan;
        let back = b.transpose(&there, &[1, 0]);
        let both = [(there, [0, 1]), (back, [1, 0])].map(|(plan, [from, to])| {
            let (own, other) = (pair[from], pair[to]);
            let items = batch.part(b, &batch.source[other], BatchPart::Structure);
            let targets = b.matmul(&plan, &items);
            let mass = b.reduce_sum(&plan, &[1], true);
            let mass = b.max_scalar(&mass, TINY);
            let targets = b.div(&targets, &mass);
            let translated = batch.carried(b, [own, other], BatchPart::Structure);
            let errors = mean_square(b, &translated, &targets);
            inner(b, &errors, &rows.own[from])
        });
        average(b, &both)
    })
}
