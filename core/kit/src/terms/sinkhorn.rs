//! Entropic transport plans inside a training graph.
//!
//! The plan minimises `<P, C> + epsilon KL(P | a b')` over the plans with marginals a and b (Cuturi 2013).
//! With the smallest cost of each row and then of each column taken out of the kernel, no entry overflows and
//! every row and column keeps an entry near 1, so that 32-bit scaling steps are enough for epsilons from a
//! hundredth of the mean cost on. The number of steps is fixed.

use chiasm_plugin::graph::{Builder, Value};

use super::{inner, outer, total};

/// Scaling steps of a plan.
const STEPS: usize = 60;
/// Below this a sum of kernel entries counts as this.
const TINY: f32 = 1e-30;

/// A plan and what its loss needs. None of it passes derivatives on.
pub(super) struct Plan {
    /// The plan, `[n, m]`.
    pub plan: Value,
    /// `<P, C> + epsilon KL(P | a b')`, the dual value.
    pub value: Value,
    /// The dual value without the entropy of the weights, `<f, a> + <g, b>` for `P = exp((f + g - C) / eps)`.
    pub potentials: Value,
}

/// `share` times the mean cost under the weights, a scalar without derivative.
pub(super) fn epsilon(b: &mut Builder, cost: &Value, [first, second]: [&Value; 2], share: f64) -> Value {
    let weights = outer(b, first, second);
    let mean = inner(b, cost, &weights);
    let mean = b.stop_gradient(&mean);
    let mean = b.max_scalar(&mean, 1e-12);
    #[expect(clippy::cast_possible_truncation, reason = "the graph computes in 32 bits")]
    b.mul_scalar(&mean, share as f32)
}

/// The plan of costs `[n, m]` for weights `[n]` and `[m]` that sum to one.
pub(super) fn plan(b: &mut Builder, cost: &Value, [first, second]: [&Value; 2], epsilon: &Value) -> Plan {
    let cost = b.stop_gradient(cost);
    let scaled = b.div(&cost, epsilon);
    let rows = least(b, &scaled, 1);
    let rest = b.sub(&scaled, &rows);
    let columns = least(b, &rest, 0);
    let rest = b.sub(&columns, &rest);
    let kernel = b.exp(&rest);
    let transposed = b.transpose(&kernel, &[1, 0]);
    let (a, c) = (b.unsqueeze(first, &[1]), b.unsqueeze(second, &[1]));
    let scalings = b.repeat(STEPS, &[&a, &c], |b, state| {
        let u = scaled_to(b, &kernel, &state[1], &a);
        let v = scaled_to(b, &transposed, &u, &c);
        vec![u, v]
    });
    let [u, v] = [0, 1].map(|at| scalings.get(at).cloned().unwrap_or_else(Value::none));
    let columns_of_v = b.transpose(&v, &[1, 0]);
    let plan = b.mul(&kernel, &u);
    let plan = b.mul(&plan, &columns_of_v);
    let plan = b.stop_gradient(&plan);
    // f = epsilon (log u + row minimum); the weight of an absent row is 0, and so is its part of the sum
    let columns = b.transpose(&columns, &[1, 0]);
    let parts = [(&u, &rows, &a), (&v, &columns, &c)].map(|(scaling, least, weight)| {
        let scaling = b.max_scalar(scaling, TINY);
        let potential = b.log(&scaling);
        let potential = b.add(&potential, least);
        let positive = b.max_scalar(weight, TINY);
        let entropy = b.log(&positive);
        let relative = b.sub(&potential, &entropy);
        [inner(b, &potential, weight), inner(b, &relative, weight)]
    });
    let [[f, relative_f], [g, relative_g]] = parts;
    let scaled_sum = |b: &mut Builder, x: &Value, y: &Value| {
        let sum = b.add(x, y);
        let sum = b.mul(&sum, epsilon);
        b.stop_gradient(&sum)
    };
    let (potentials, value) = (scaled_sum(b, &f, &g), scaled_sum(b, &relative_f, &relative_g));
    Plan { plan, value, potentials }
}

/// The value of `value` with the derivative of `linear`.
pub(super) fn with_derivative_of(b: &mut Builder, value: &Value, linear: &Value) -> Value {
    let rest = b.sub(value, linear);
    let rest = b.stop_gradient(&rest);
    b.add(linear, &rest)
}

/// `<P, C>` with the derivative of C.
pub(super) fn transported(b: &mut Builder, plan: &Value, cost: &Value) -> Value {
    let products = b.mul(plan, cost);
    total(b, &products)
}

fn least(b: &mut Builder, x: &Value, axis: i64) -> Value {
    let axes: &[i64] = &[axis];
    b.op("ReduceMin", &[x], &[("axes", axes.into()), ("keepdims", 1.into())])
}

/// `weight / (kernel scaling)`.
fn scaled_to(b: &mut Builder, kernel: &Value, scaling: &Value, weight: &Value) -> Value {
    let sums = b.matmul(kernel, scaling);
    let sums = b.max_scalar(&sums, TINY);
    b.div(weight, &sums)
}
