//! Costs below zero, as of an inner product, and weights whose sums are far apart.

use chiasm_transport::{
    Cost, DELIBERATE_STARTS, GromovWasserstein, Marginals, Sinkhorn, SolverLimits, Space, StopReason,
    exact_partial, uniform,
};
use ndarray::{Array2, Axis};

fn value(i: usize, s: usize) -> f64 {
    ((i * 7919 + s * 104_729) % 10_007) as f64 / 10_007.0
}

fn costs(n: usize, m: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, m), |(i, j)| 4.0 * value(i * m + j, 1))
}

/// A constant that is added to the costs adds itself times the mass to the cost of each plan. The mean of the
/// last costs is zero up to rounding. Tolerance: single precision, and twice the marginal error of 1e-6.
#[test]
fn an_entropic_plan_has_the_cost_of_its_entries_whatever_their_sign() {
    let costs = costs(12, 9);
    let mean = costs.mean().unwrap();
    for marginals in [Marginals::Balanced, Marginals::Partial { mass: 0.4 }] {
        for (shift, epsilon) in [(-3.0, 0.2), (-50.0, 0.2), (-mean, 0.2), (-mean, 30.0), (5.0 - mean, 0.2)] {
            let moved = costs.mapv(|c| c + shift);
            let cost = Cost::matrix64(moved.view()).unwrap();
            let solver = Sinkhorn::new(epsilon).marginals(marginals);
            let found = solver.solve(&cost, &uniform(12), &uniform(9)).unwrap();
            let got = found.report.transport_cost;
            let want = (found.plan().mapv(f64::from) * &moved).sum();
            let size = moved.fold(0.0_f64, |top, c| top.max(c.abs()));
            assert!((got - want).abs() < 3e-6 * size, "{marginals:?}, {shift}: got {got}, want {want}");
        }
    }
}

#[test]
fn fused_objectives_may_be_negative() {
    let distances = |n: usize, s: usize| {
        let place = |i: usize| 3.0 * value(i, s);
        Array2::from_shape_fn((n, n), |(i, j)| (place(i) - place(j)).abs() as f32)
    };
    let (x, y) = (distances(8, 2), distances(7, 3));
    let (x, y) = (Space::matrix(x.view()).unwrap(), Space::matrix(y.view()).unwrap());
    let objective = |shift: f64, epsilon: Option<f64>| {
        let linear = costs(8, 7).mapv(|c| (c + shift) as f32);
        let solver = match epsilon {
            Some(epsilon) => GromovWasserstein::entropic(epsilon),
            None => GromovWasserstein::conditional_gradient(),
        };
        // From one start, rounding decides which of several optima it is.
        let solver = solver.fused(linear.view(), 0.5).starts(DELIBERATE_STARTS);
        solver.solve(&x, &y, &uniform(8), &uniform(7)).unwrap().value
    };
    for epsilon in [None, Some(0.1)] {
        let plain = objective(0.0, epsilon);
        let moved = objective(-6.0, epsilon);
        // The constant counts with the weight of the linear part, 0.5. Single precision of costs of 6.
        assert!((moved - (plain - 3.0)).abs() < 1e-5, "{moved}, without the constant {plain}");
    }
}

/// Iterates in the log domain in double precision, with the shift between the potentials that is optimal for
/// both penalties (Sejourne, Vialard and Peyre 2022, arXiv 2201.00730).
fn unbalanced(costs: &Array2<f64>, [a, b]: [&[f64]; 2], epsilon: f64, rho: f64) -> Array2<f64> {
    let log_sum = |values: Vec<f64>| {
        let top = values.iter().fold(f64::NEG_INFINITY, |top, v| top.max(*v));
        top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
    };
    let (n, m) = costs.dim();
    let tau = rho / (rho + epsilon);
    let (mut f, mut g) = (vec![0.0; n], vec![0.0; m]);
    for _ in 0..3000 {
        for i in 0..n {
            let row = (0..m).map(|j| (g[j] - costs[[i, j]]) / epsilon + b[j].ln()).collect();
            f[i] = -tau * epsilon * log_sum(row);
        }
        for j in 0..m {
            let column = (0..n).map(|i| (f[i] - costs[[i, j]]) / epsilon + a[i].ln()).collect();
            g[j] = -tau * epsilon * log_sum(column);
        }
        let side = |w: &[f64], f: &[f64]| log_sum(w.iter().zip(f).map(|(w, f)| w.ln() - f / rho).collect());
        let shift = (side(a, &f) - side(b, &g)) * rho / 2.0;
        f.iter_mut().for_each(|f| *f += shift);
        g.iter_mut().for_each(|g| *g -= shift);
    }
    Array2::from_shape_fn((n, m), |(i, j)| a[i] * b[j] * ((f[i] + g[j] - costs[[i, j]]) / epsilon).exp())
}

/// A solver that says "converged" has the mass and cost, however far the sums of the weights are apart. The
/// tolerance of 1e-6 is a share of the mass of the plan, not of the larger sum of the weights.
#[test]
fn unbalanced_transport_between_very_different_masses_is_as_precise_as_between_equal_ones() {
    let costs = costs(12, 9);
    let cost = Cost::matrix64(costs.view()).unwrap();
    for (source, target) in [(1.0, 1.0), (1e3, 1.0), (1e6, 1.0), (1.0, 1e6), (1e12, 1.0), (1e-6, 1.0)] {
        let a = vec![source / 12.0; 12];
        let b = vec![target / 9.0; 9];
        for (epsilon, rho) in [(0.2, 1.0), (0.2, 0.01)] {
            let solver = Sinkhorn::new(epsilon).marginals(Marginals::Unbalanced { source: rho, target: rho });
            let found = solver.solve(&cost, &a, &b).unwrap();
            let want = unbalanced(&costs, [&a, &b], epsilon, rho);
            assert_eq!(found.report.stop, StopReason::Converged);
            for (got, want) in
                [(found.report.mass, want.sum()), (found.report.transport_cost, (&want * &costs).sum())]
            {
                assert!((got / want - 1.0).abs() < 1e-5, "{source}, {target}, {rho}: got {got}, want {want}");
            }
        }
    }
}

/// A mass far below the weights moves between the pair of points of the least cost; from weights far above
/// the mass, each target takes its mass from the nearest source.
#[test]
fn exact_partial_transport_keeps_its_digits_where_the_mass_is_far_below_the_weights() {
    let costs = costs(12, 9);
    let least = costs.fold(f64::INFINITY, |low, c| low.min(*c));
    let nearest: f64 = costs.columns().into_iter().map(|c| c.fold(f64::INFINITY, |l, c| l.min(*c))).sum();
    let limits = SolverLimits::new(100_000);
    for mass in [1e-3, 1e-9, 1e-12, 1e-200] {
        let found = exact_partial(costs.view(), &uniform(12), &uniform(9), mass, &limits).unwrap();
        assert_eq!(found.stop, StopReason::Converged, "{mass}");
        assert!((found.transport_cost / (mass * least) - 1.0).abs() < 1e-9, "{mass}");
    }
    for size in [1.0, 1e12, 1e300] {
        let found = exact_partial(costs.view(), &[size; 12], &uniform(9), 1.0, &limits).unwrap();
        assert_eq!(found.stop, StopReason::Converged, "{size}");
        assert!((found.transport_cost / (nearest / 9.0) - 1.0).abs() < 1e-9, "{size}");
        let targets = found.plan().sum_axis(Axis(0));
        assert!(targets.iter().all(|moved| (9.0 * moved - 1.0).abs() < 1e-9), "{size}: {targets}");
    }
}
