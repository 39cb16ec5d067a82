//! The Gromov-Wasserstein discrepancy between the items of two modalities.
//!
//! ```text
//! GW = sum_ijkl (D_ik - E_jl)² P_ij P_kl
//! ```
//!
//! D and E are the squared distances within each modality, each over its mean, so the spaces may have
//! different dimensions and scales. The plan P comes from projected gradient steps with entropic plans
//! (Peyré, Cuturi and Solomon 2016). From the product plan these steps often end in a poor optimum, so they
//! start at the even mixture of the product plan and the known pairs. By the envelope theorem the derivative
//! holds P constant.

use chiasm_plugin::graph::{Builder, Value};

use super::neighbours::FAR;
use super::sinkhorn;
use super::{RowPair, TermBatch, inner, outer, row_sums, squared_distances};

/// Gradient steps on the plan.
const STEPS: usize = 5;

/// The mean over the pairs of modalities of GW between the mapped items.
pub(super) fn term(b: &mut Builder, batch: &TermBatch<'_>) -> Value {
    batch.mean_over_pairs(b, |b, pair| {
        let rows = batch.rows(b, batch.mapped, pair);
        discrepancy(b, &rows, batch.settings.epsilon)
    })
}

/// GW between the rows of two modalities.
fn discrepancy(b: &mut Builder, rows: &RowPair, share: f64) -> Value {
    let [x, y] = [0, 1].map(|at| {
        let squares = squared_distances(b, &rows.items[at], &rows.items[at]);
        let weights = outer(b, &rows.own[at], &rows.own[at]);
        let mean = inner(b, &squares, &weights);
        let mean = b.max_scalar(&mean, 1e-12);
        b.div(&squares, &mean)
    });
    let weights = rows.own.each_ref();
    let mut plan = first_plan(b, rows);
    let absent = absent(b, weights);
    let still = [&x, &y].map(|distances| b.stop_gradient(distances));
    for _ in 0..STEPS {
        let cost = linear_cost(b, still.each_ref(), weights, &plan);
        // a plan depends on its cost up to a constant; the smallest cost of items that count becomes 0
        let cost = b.add(&cost, &absent);
        let least = b.op("ReduceMin", &[&cost], &[("keepdims", 0.into())]);
        let cost = b.sub(&cost, &least);
        let epsilon = sinkhorn::epsilon(b, &cost, weights, share);
        plan = sinkhorn::plan(b, &cost, weights, &epsilon).plan;
    }
    let cost = linear_cost(b, [&x, &y], weights, &plan);
    inner(b, &plan, &cost)
}

/// A large cost where an item has no weight, else 0, `[n, n]`.
fn absent(b: &mut Builder, weights: [&Value; 2]) -> Value {
    let held = outer(b, weights[0], weights[1]);
    let held = b.sign(&held);
    let missing = b.add_scalar(&held, -1.0);
    b.mul_scalar(&missing, -FAR)
}

/// Half the product plan and half the plan of the pairs; the weights of unpaired items go to the product.
fn first_plan(b: &mut Builder, rows: &RowPair) -> Value {
    let half = b.mul_scalar(&rows.weights, 0.5);
    let same = b.neg(&rows.others);
    let same = b.add_scalar(&same, 1.0);
    let held = outer(b, &rows.own[0], &rows.own[1]);
    let held = b.sign(&held);
    let same = b.mul(&same, &held);
    let per_row = row_sums(b, &same);
    let per_row = b.max_scalar(&per_row, 1.0);
    let half = b.div(&half, &per_row);
    let half = b.unsqueeze(&half, &[1]);
    let pairs = b.mul(&same, &half);
    let product = outer(b, &rows.own[0], &rows.own[1]);
    let product = b.mul_scalar(&product, 0.5);
    let both = b.add(&product, &pairs);
    b.stop_gradient(&both)
}

/// `sum_kl (D_ik - E_jl)² P_kl`, with the plan's marginals equal to the weights.
fn linear_cost(b: &mut Builder, [x, y]: [&Value; 2], weights: [&Value; 2], plan: &Value) -> Value {
    let parts = [(x, weights[0], 1), (y, weights[1], 0)].map(|(distances, weights, axis)| {
        let squares = b.mul(distances, distances);
        let column = b.unsqueeze(weights, &[1]);
        let sums = b.matmul(&squares, &column);
        let sums = b.squeeze(&sums, &[1]);
        b.unsqueeze(&sums, &[axis])
    });
    let cross = b.matmul(x, plan);
    let cross = b.matmul(&cross, y);
    let cross = b.mul_scalar(&cross, -2.0);
    let sum = b.add(&parts[0], &parts[1]);
    b.add(&sum, &cross)
}
