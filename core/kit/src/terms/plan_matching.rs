//! Matches the transport plan of the trained maps with that of the closed form they start from.
//!
//! ```text
//! KL(P_start | P),   P, P_start: entropic plans of squared distances, after the maps and after their start
//! ```
//!
//! Its derivative is `sum (P_start - P)_ij dC_ij / epsilon`, with both plans held constant. The start was
//! fitted on the pairs, and the plans are over all items of the batch: items without a partner teach the
//! maps too. Source: SOTAlign (arXiv 2602.23353), which derives the same gradient for its KL form.

use chiasm_plugin::graph::{Builder, Value};

use super::sinkhorn::{Plan, epsilon, plan, transported, with_derivative_of};
use super::{TermBatch, inner, squared_distances};

/// Below this an entry of a plan has no part in the divergence.
const TINY: f32 = 1e-30;

/// The mean over the pairs of modalities.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let teacher = batch.start_rows(b, pair);
        let cost = squared_distances(b, &teacher.items[0], &teacher.items[1]);
        let scale = epsilon(b, &cost, teacher.own.each_ref(), batch.settings.epsilon);
        let Plan { plan: taught, .. } = plan(b, &cost, teacher.own.each_ref(), &scale);
        let rows = batch.rows(b, batch.mapped, pair);
        let cost = squared_distances(b, &rows.items[0], &rows.items[1]);
        let scale = epsilon(b, &cost, rows.own.each_ref(), batch.settings.epsilon);
        let Plan { plan: own, potentials, .. } = plan(b, &cost, rows.own.each_ref(), &scale);
        let difference = b.sub(&taught, &own);
        let linear = transported(b, &difference, &cost);
        let linear = b.div(&linear, &scale);
        // sum T log T + (<T, C> - <f, a> - <g, b>) / epsilon
        let positive = b.max_scalar(&taught, TINY);
        let logarithms = b.log(&positive);
        let entropy = inner(b, &taught, &logarithms);
        let cross = transported(b, &taught, &cost);
        let cross = b.sub(&cross, &potentials);
        let cross = b.div(&cross, &scale);
        let value = b.add(&entropy, &cross);
        with_derivative_of(b, &value, &linear)
    })
}
