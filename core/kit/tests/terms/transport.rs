//! The transport terms, by the solver of `chiasm-transport` in double precision.

use chiasm_plugin::ndarray::{Array2, Axis};
use chiasm_transport::{Cost, Sinkhorn, uniform};

use crate::formulas::{forward, squared};
use crate::harness::Case;

fn narrow(x: &Array2<f64>) -> Array2<f32> {
    x.mapv(|x| x as f32)
}

/// The dual value of entropic transport and its plan, at an absolute epsilon.
fn solve(x: &Array2<f64>, y: &Array2<f64>, epsilon: f64) -> (f64, Array2<f64>) {
    let (x, y) = (narrow(x), narrow(y));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let solver = Sinkhorn::new(epsilon).tolerance(1e-9).iterations(100_000);
    let coupling = solver.solve(&cost, &uniform(x.nrows()), &uniform(y.nrows())).unwrap();
    let dual = coupling.report.dual.unwrap();
    (dual, coupling.into_plan().mapv(f64::from))
}

/// Epsilon is held constant by the terms, so it is that of the clouds that are held fixed.
fn epsilon(case: &Case) -> f64 {
    case.settings.epsilon * squared(&case.fixed[0], &case.fixed[1]).mean().unwrap()
}

pub fn ot(case: &Case) -> f64 {
    solve(&case.mapped[0], &case.mapped[1], epsilon(case)).0
}

pub fn divergence(case: &Case) -> f64 {
    let epsilon = epsilon(case);
    let [x, y] = &case.mapped;
    let [xy, xx, yy] = [(x, y), (x, x), (y, y)].map(|(x, y)| solve(x, y, epsilon).0);
    xy - (xx + yy) / 2.0
}

pub fn plan_matching(case: &Case) -> f64 {
    let scale = case.settings.epsilon * squared(&case.start[0], &case.start[1]).mean().unwrap();
    let (_, taught) = solve(&case.start[0], &case.start[1], scale);
    let (_, own) = solve(&case.mapped[0], &case.mapped[1], epsilon(case));
    taught.iter().zip(&own).filter(|(t, _)| **t > 1e-30).map(|(t, p)| t * (t / p).ln()).sum()
}

/// The quadratic cost of each pair of items under a plan, `sum_kl (D_ik - E_jl)² P_kl`.
fn linear_cost(x: &Array2<f64>, y: &Array2<f64>, plan: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn(plan.dim(), |(i, j)| {
        plan.indexed_iter().map(|((k, l), p)| p * (x[[i, k]] - y[[j, l]]).powi(2)).sum()
    })
}

/// The plan of five gradient steps at the clouds that are held fixed; the value at the moved ones.
pub fn gromov_wasserstein(case: &Case) -> f64 {
    let relative = |x: &Array2<f64>| {
        let squares = squared(x, x);
        let mean = squares.mean().unwrap();
        squares / mean
    };
    let [x, y] = case.fixed.each_ref().map(relative);
    let n = x.nrows();
    let product = 0.5 / (n * n) as f64;
    let mut plan =
        Array2::from_shape_fn((n, n), |(i, j)| product + if i == j { 0.5 / n as f64 } else { 0.0 });
    for _ in 0..5 {
        let cost = linear_cost(&x, &y, &plan);
        let least = cost.iter().copied().fold(f64::INFINITY, f64::min);
        let cost = cost.mapv(|c| (c - least) as f32);
        let epsilon = case.settings.epsilon * f64::from(cost.mean().unwrap());
        let cost = Cost::matrix(cost.view()).unwrap();
        let solver = Sinkhorn::new(epsilon).tolerance(1e-9).iterations(100_000);
        plan = solver.solve(&cost, &uniform(n), &uniform(n)).unwrap().into_plan().mapv(f64::from);
    }
    let [x, y] = case.mapped.each_ref().map(relative);
    (&linear_cost(&x, &y, &plan) * &plan).sum()
}

/// The plan of the starts, and the error against its barycentric targets.
pub fn barycentric(case: &Case) -> f64 {
    let scale = case.settings.epsilon * squared(&case.start[0], &case.start[1]).mean().unwrap();
    let (_, there) = solve(&case.start[0], &case.start[1], scale);
    let [_, decoders] = case.networks();
    let one = |plan: Array2<f64>, own: usize, other: usize| {
        let mass = plan.sum_axis(Axis(1)).insert_axis(Axis(1));
        let targets = plan.dot(&case.source[other]) / mass;
        let difference = forward(&decoders[other], &case.mapped[own]) - targets;
        difference.mapv(|x| x * x).mean().unwrap()
    };
    (one(there.clone(), 0, 1) + one(there.reversed_axes(), 1, 0)) / 2.0
}
