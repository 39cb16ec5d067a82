//! Optimal transport between the mapped items of two modalities, plain and debiased.
//!
//! ```text
//! OT(x, y) = min_P <P, C> + epsilon KL(P | a b'),      C_ij = |x_i - y_j|²
//! S(x, y)  = OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2
//! ```
//!
//! over plans P with the weights a and b of the items as marginals. Epsilon is a share of the mean cost. By
//! the envelope theorem the derivative is `sum P_ij dC_ij` with the plan held constant, so nothing is
//! propagated back through the scaling steps. Items need no partner: each modality's items count, paired or
//! not. Sources: Cuturi 2013 (NeurIPS) for OT; Feydy et al. 2019 (arXiv 1810.08278) for the Sinkhorn
//! divergence S, which unlike OT is 0 only for equal clouds and does not shrink them.

use chiasm_plugin::graph::{Builder, Value};

use super::sinkhorn::{Plan, epsilon, plan, transported, with_derivative_of};
use super::{TermBatch, squared_distances};

/// The mean of OT over the pairs of modalities.
pub(super) fn ot(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let weights = rows.own.each_ref();
        let cost = squared_distances(b, &rows.items[0], &rows.items[1]);
        let epsilon = epsilon(b, &cost, weights, batch.settings.epsilon);
        entropic(b, &cost, weights, &epsilon)
    })
}

/// The mean of S over the pairs of modalities.
pub(super) fn divergence(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        let [x, y] = &rows.items;
        let cost = squared_distances(b, x, y);
        let epsilon = epsilon(b, &cost, rows.own.each_ref(), batch.settings.epsilon);
        let both = entropic(b, &cost, rows.own.each_ref(), &epsilon);
        [x, y].into_iter().zip(&rows.own).fold(both, |sum, (items, weights)| {
            let cost = squared_distances(b, items, items);
            let own = entropic(b, &cost, [weights, weights], &epsilon);
            let half = b.mul_scalar(&own, 0.5);
            b.sub(&sum, &half)
        })
    })
}

fn entropic(b: &mut Builder, cost: &Value, weights: [&Value; 2], epsilon: &Value) -> Value {
    let Plan { plan, value, .. } = plan(b, cost, weights, epsilon);
    let linear = transported(b, &plan, cost);
    with_derivative_of(b, &value, &linear)
}
