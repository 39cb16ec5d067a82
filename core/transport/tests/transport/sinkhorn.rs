//! Entropic transport: values of POT, mathematical properties, invalid input.

use crate::reference::{Reference, squared};
use chiasm_transport::{Cost, Error, Marginals, Sinkhorn, SolverLimits, StopReason, exact_partial, uniform};
use ndarray::{Array1, Array2, Axis, array};
use proptest::prelude::*;
use std::{ops::ControlFlow, time::Duration};

/// Tolerance: with a single-precision kernel the relative error of a plan's entries and of its cost is about
/// 1e-6.
const CLOSE: f64 = 3e-6;

fn near(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance * want.abs(), "got {got}, want {want}");
}

#[test]
fn agrees_with_pot_on_plan_and_cost_stored_and_streaming() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let given = squared(&r.matrix("x"), &r.matrix("y"));
    let given32 = given.mapv(|c| c as f32);
    let want = r.matrix("sinkhorn_plan");
    let solver = Sinkhorn::new(r.number("epsilon")).tolerance(1e-6);
    for cost in [&cost, &Cost::matrix64(given.view()).unwrap(), &Cost::matrix(given32.view()).unwrap()] {
        for memory in [usize::MAX, 0] {
            let coupling = solver.clone().memory(memory).solve(cost, &a, &b).unwrap();
            assert_eq!(coupling.report.stop, StopReason::Converged);
            near(coupling.report.transport_cost, r.number("sinkhorn"), CLOSE);
            let worst = (coupling.plan().mapv(f64::from) - &want).iter().fold(0.0_f64, |w, d| w.max(d.abs()));
            // A tenth of the marginal error; the largest entry is 0.03.
            assert!(worst < 1e-7, "an entry is off by {worst}");
        }
    }
}

#[test]
fn agrees_with_pot_on_other_costs() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    for (name, cost) in [
        ("sinkhorn_euclidean", Cost::euclidean(x.view(), y.view()).unwrap()),
        ("sinkhorn_cosine", Cost::cosine(x.view(), y.view()).unwrap()),
    ] {
        let coupling = Sinkhorn::of_mean_cost(0.1).solve(&cost, &a, &b).unwrap();
        near(coupling.report.transport_cost, r.number(name), CLOSE);
    }
}

#[test]
fn agrees_with_pot_on_unbalanced_and_partial_transport() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let rho = r.vector("unbalanced_rho");
    let b2: Vec<f64> = b.iter().map(|b| 2.0 * b).collect();
    let solver = Sinkhorn::new(r.number("epsilon")).tolerance(1e-6);
    let soft = Marginals::Unbalanced { source: rho[0], target: rho[1] };
    let coupling = solver.clone().marginals(soft).solve(&cost, &a, &b2).unwrap();
    near(coupling.plan().mapv(f64::from).sum(), r.number("unbalanced_mass"), 1e-5);
    near(coupling.report.transport_cost, r.number("unbalanced"), 1e-5);

    let mass = r.number("partial_mass");
    let partial = solver.marginals(Marginals::Partial { mass });
    let coupling = partial.solve(&cost, &uniform(x.nrows()), &uniform(y.nrows())).unwrap();
    assert_eq!(coupling.report.stop, StopReason::Converged);
    near(coupling.plan().mapv(f64::from).sum(), mass, 1e-5);
    near(coupling.report.transport_cost, r.number("partial"), 1e-4); // the error of POT's own stopping rule
}

/// Penalties of a hundred to ten thousand epsilon and sides of unequal mass, against plain iterations in
/// double precision that were run until nothing changed. Masses and costs are right to 1e-5: the tolerance is
/// 1e-6, and the plan is in single precision.
#[test]
fn unbalanced_transport_with_penalties_far_above_epsilon_takes_few_iterations() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../reference/unbalanced.json")).unwrap();
    for case in cases {
        let number = |name: &str| case[name].as_f64().unwrap();
        let (rho, b) = (number("penalty"), b.iter().map(|b| number("ratio") * b).collect::<Vec<_>>());
        let soft = Marginals::Unbalanced { source: rho, target: rho };
        for (accelerated, memory) in [(true, 1 << 30), (false, 1 << 30), (false, 0)] {
            let solver = Sinkhorn::new(r.number("epsilon")).marginals(soft);
            let solver = solver.accelerated(accelerated).memory(memory);
            let report = solver.solve(&cost, &a, &b).unwrap().report;
            assert_eq!(report.stop, StopReason::Converged, "{case}");
            assert!(report.iterations <= 60, "{case}: {} iterations", report.iterations);
            near(report.mass, number("mass"), 1e-5);
            near(report.transport_cost, number("cost"), 1e-5);
        }
    }
}

/// Costs of ten thousand epsilon: the mass is still what was asked for, at nearly the cost of the exact plan.
/// The solution is the only plan whose marginals are the weights times `exp(-f / rho)` and `exp(-g / rho)`,
/// which a step of the Newton method must not move away from. With plain iterations the mass of the plan
/// approaches its limit by 1 - (rho / (rho + epsilon))^2, here 0.2 %, at a time: they need more than 2,000.
/// The plan is in single precision, so that its marginals are right to 1e-6.
#[test]
fn unbalanced_transport_with_a_small_epsilon_takes_few_iterations() {
    let points = |n: usize, step: f64| {
        Array2::from_shape_fn((n, 2), |(i, k)| ((i as f64 + 1.0) * step * (1.0 + k as f64)).sin() as f32)
    };
    let (x, y) = (points(60, 0.7), points(80, 1.3));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let (a, b) = (uniform(60), vec![0.02; 80]);
    let rho = 10.0;
    let solver = Sinkhorn::new(1e-3 * rho).marginals(Marginals::Unbalanced { source: rho, target: rho });
    let coupling = solver.solve(&cost, &a, &b).unwrap();
    assert_eq!(coupling.report.stop, StopReason::Converged);
    assert!(coupling.report.iterations < 500, "{} iterations", coupling.report.iterations);
    let potentials = [coupling.source_potential(), coupling.target_potential()];
    let plan = coupling.into_plan().mapv(f64::from);
    for (side, weights) in [&a, &b].into_iter().enumerate() {
        let sums = plan.sum_axis(Axis(1 - side));
        let off: f64 = (sums.iter().zip(weights).zip(&potentials[side]))
            .map(|((sum, weight), potential)| (sum - weight * (-potential / rho).exp()).abs())
            .sum();
        assert!(off < 4e-6, "side {side} is off by {off}");
    }
}

#[test]
fn partial_transport_at_a_small_epsilon_moves_the_asked_mass() {
    let r = Reference::read();
    let (x, y) = (r.points("x"), r.points("y"));
    let (a, b) = (uniform(x.nrows()), uniform(y.nrows()));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let matrix = squared(&r.matrix("x"), &r.matrix("y"));
    for mass in [0.3, 0.6, 0.95] {
        let limits = SolverLimits::new(100_000);
        let best = exact_partial(matrix.view(), &a, &b, mass, &limits).unwrap().transport_cost;
        for share in [1e-2, 1e-3, 1e-4] {
            let solver = Sinkhorn::of_mean_cost(share).marginals(Marginals::Partial { mass });
            let coupling = solver.tolerance(1e-4).iterations(100_000).solve(&cost, &a, &b).unwrap();
            let moved = coupling.plan().mapv(f64::from).sum();
            assert!((moved / mass - 1.0).abs() < 1e-3, "{moved} of {mass} at {share}");
            // The entropy of 1200 entries is at most ln 1200 epsilon above the optimum.
            let most = best + 7.1 * share * cost.mean() + 1e-3 * best;
            let got = coupling.report.transport_cost;
            assert!(got < most && got > best * (1.0 - 2e-3), "{got} for {best} at {share}");
        }
    }
}

/// Below the resolution of single precision it is an error, or no mass is left, but never a wrong mass.
#[test]
fn partial_transport_at_no_epsilon_moves_no_wrong_mass() {
    let r = Reference::read();
    let (x, y) = (r.points("x"), r.points("y"));
    let (a, b) = (uniform(x.nrows()), uniform(y.nrows()));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let solver = Sinkhorn::new(1e-12).marginals(Marginals::Partial { mass: 0.5 });
    match solver.tolerance(1e-6).iterations(10_000).solve(&cost, &a, &b) {
        Err(Error::Breakdown { why, .. }) => assert!(why.contains("raise epsilon"), "{why}"),
        Err(other) => panic!("{other}"),
        Ok(coupling) => {
            let moved = coupling.plan().mapv(f64::from).sum();
            let honest = moved == 0.0 || coupling.report.stop != StopReason::Converged;
            assert!(honest || (moved - 0.5).abs() < 1e-3, "{moved}, {:?}", coupling.report);
        }
    }
}

#[test]
fn a_small_epsilon_converges_close_to_the_exact_cost() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let coupling = Sinkhorn::of_mean_cost(1e-3).tolerance(1e-5).solve(&cost, &a, &b).unwrap();
    assert_eq!(coupling.report.stop, StopReason::Converged);
    let exact = r.number("emd");
    // <P, C> is above the optimum by at most epsilon ln(nm).
    let bound = coupling.report.epsilon * (1200.0_f64).ln();
    assert!((-1e-4..bound).contains(&(coupling.report.transport_cost - exact)), "{:?}", coupling.report);
    // The entropic dual is at most the optimal cost plus epsilon KL.
    assert!(coupling.report.dual.unwrap() <= exact + bound);
}

#[test]
fn the_divergence_agrees_with_pot_and_its_gradient_with_finite_differences() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let solver = Sinkhorn::new(r.number("epsilon")).tolerance(1e-6);
    let found = solver.divergence(x.view(), y.view(), &a, &b).unwrap();
    near(found.value, r.number("sinkhorn_divergence"), 1e-5); // a difference of three single-precision values
    let itself = solver.divergence(x.view(), x.view(), &a, &a).unwrap();
    assert!(itself.value < 1e-5 && itself.gradient.iter().all(|g| g.abs() < 1e-5));
    for (i, k) in [(0, 0), (3, 2), (17, 4)] {
        let at = |step: f32| {
            let mut moved = x.clone();
            moved[[i, k]] += step;
            solver.divergence(moved.view(), y.view(), &a, &b).unwrap().value
        };
        let step = 0.05; // large, because the values have single-precision noise of 1e-6
        let want = (at(step) - at(-step)) / (2.0 * f64::from(step));
        let got = f64::from(found.gradient[[i, k]]);
        assert!(
            (got - want).abs() < 2e-3 * want.abs().max(0.02),
            "[{i}, {k}]: got {got}, differences {want}"
        );
    }
}

#[test]
fn a_coarse_start_is_close_to_the_solution() {
    let wave = |i: usize, k: usize| {
        ((i * (k + 3)) as f32 * 0.37).sin() + 0.1 * ((i * 7919 + k) % 101) as f32 / 101.0
    };
    let x = Array2::from_shape_fn((9000, 3), |(i, k)| wave(i, k));
    let y = Array2::from_shape_fn((8500, 3), |(i, k)| 0.8 * wave(i + 5, k) + 0.2);
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let (a, b) = (uniform(9000), uniform(8500));
    let solver = Sinkhorn::of_mean_cost(0.05).memory(0).tolerance(0.0).iterations(1);
    let cold = solver.solve(&cost, &a, &b).unwrap().report.marginal_error;
    let make =
        |x: ndarray::ArrayView2<'_, f32>, y: ndarray::ArrayView2<'_, f32>| Cost::squared_euclidean(x, y);
    let started = solver.clone().iterations(200).coarse_start(x.view(), y.view(), make).unwrap();
    let warm = started.iterations(1).solve(&cost, &a, &b).unwrap().report.marginal_error;
    assert!(warm < 0.06 && warm < 0.3 * cold, "cold {cold}, warm {warm}");
}

#[test]
fn a_warm_start_at_the_solution_converges_in_two_iterations() {
    let r = Reference::read();
    let (x, y) = (r.points("x"), r.points("y"));
    let (a, b) = (uniform(x.nrows()), uniform(y.nrows()));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let cold = Sinkhorn::of_mean_cost(0.05).solve(&cost, &a, &b).unwrap();
    let g = cold.target_potential().to_vec();
    let warm = Sinkhorn::of_mean_cost(0.05).start(&g).solve(&cost, &a, &b).unwrap();
    assert!(warm.report.iterations <= 2 && cold.report.iterations > 5, "{:?} {:?}", cold.report, warm.report);
}

#[test]
fn invalid_input_is_an_error_of_the_right_kind() {
    let good = array![[0.0_f32, 1.0], [2.0, 3.0]];
    let bad = array![[0.0_f32, f32::NAN], [2.0, 3.0]];
    let none = Array2::<f32>::zeros((0, 2));
    assert!(matches!(Cost::squared_euclidean(bad.view(), good.view()), Err(Error::NotFinite { row: 0, .. })));
    assert!(matches!(Cost::squared_euclidean(none.view(), good.view()), Err(Error::Empty(_))));
    assert!(matches!(Cost::cosine(Array2::zeros((1, 2)).view(), good.view()), Err(Error::NoDirection(_))));
    let wide = Array2::<f32>::zeros((2, 3));
    assert!(matches!(Cost::euclidean(good.view(), wide.view()), Err(Error::Shape { .. })));
    let cost = Cost::squared_euclidean(good.view(), good.view()).unwrap();
    let solve = |a: &[f64], b: &[f64]| Sinkhorn::new(0.1).solve(&cost, a, b).map(|c| c.report);
    assert!(matches!(solve(&[0.5, 0.5], &[0.5]), Err(Error::Shape { .. })));
    assert!(matches!(solve(&[0.5, -0.5], &[0.5, 0.5]), Err(Error::Weights { .. })));
    assert!(matches!(solve(&[f64::NAN, 0.5], &[0.5, 0.5]), Err(Error::Weights { .. })));
    assert!(matches!(solve(&[0.0, 0.0], &[0.5, 0.5]), Err(Error::Weights { .. })));
    assert!(matches!(solve(&[1.0, 1.0], &[0.5, 0.5]), Err(Error::Mass { .. })));
    for eps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Sinkhorn::new(eps).solve(&cost, &[0.5; 2], &[0.5; 2]), Err(Error::Setting { .. })));
    }
}

#[test]
fn degenerate_input_gives_correct_finite_values() {
    let point = array![[1.0_f32, 2.0]];
    let cloud = array![[1.0_f32, 2.0], [1.0, 2.0], [1.0, 2.0], [4.0, 6.0]];
    let one = Cost::squared_euclidean(point.view(), cloud.view()).unwrap();
    let coupling = Sinkhorn::new(0.1).solve(&one, &[1.0], &[0.25; 4]).unwrap();
    near(coupling.report.transport_cost, 25.0 / 4.0, 1e-6);

    let same = Cost::squared_euclidean(cloud.view(), cloud.view()).unwrap();
    let zero_weights = Sinkhorn::new(0.1).solve(&same, &[0.0, 0.5, 0.0, 0.5], &[0.5, 0.0, 0.5, 0.0]).unwrap();
    near(zero_weights.report.transport_cost, 12.5, 1e-6);
    assert!(zero_weights.source_potential().iter().all(|f| f.is_finite()));

    let unnormalised = Sinkhorn::new(0.1).solve(&one, &[8.0], &[2.0; 4]).unwrap();
    near(unnormalised.report.transport_cost, 50.0, 1e-6);
    near(unnormalised.plan().sum().into(), 8.0, 1e-6);
}

#[test]
fn the_cost_scales_with_huge_and_tiny_units() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let solve = |scale: f32| {
        let (x, y) = (&x * scale, &y * scale);
        let cost = Cost::euclidean(x.view(), y.view()).unwrap();
        Sinkhorn::of_mean_cost(0.1).solve(&cost, &a, &b).unwrap().report.transport_cost / f64::from(scale)
    };
    for scale in [1e30, 1e-30] {
        near(solve(scale), solve(1.0), 1e-5);
    }
}

/// For an epsilon far above the costs the plan is the product of the weights. Its cost must stay accurate
/// although the kernel is nearly one.
#[test]
fn a_huge_epsilon_gives_the_cost_of_the_product_plan() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let given = squared(&r.matrix("x"), &r.matrix("y"));
    let want: f64 = given.indexed_iter().map(|((i, j), c)| a[i] * b[j] * c).sum();
    for epsilon in [1e8, 1e300] {
        let coupling = Sinkhorn::new(epsilon).solve(&cost, &a, &b).unwrap();
        near(coupling.report.transport_cost, want, CLOSE);
    }
}

#[test]
fn limits_and_watchers_stop_a_problem_that_cannot_converge() {
    let x = Array2::from_shape_fn((60, 2), |(i, j)| ((i * 37 + j * 11) % 61) as f32);
    let y = Array2::from_shape_fn((60, 2), |(i, j)| ((i * 17 + j * 29) % 59) as f32);
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let hard = Sinkhorn::of_mean_cost(1e-7).tolerance(0.0);
    let report = hard.clone().iterations(50).solve(&cost, &uniform(60), &uniform(60)).map(|c| c.report);
    assert!(
        matches!(report, Ok(r) if r.stop == StopReason::Iterations && r.transport_cost.is_finite())
            || report.is_err()
    );
    let soft = Sinkhorn::of_mean_cost(0.1).tolerance(0.0);
    let stop = |s: Sinkhorn| s.solve(&cost, &uniform(60), &uniform(60)).unwrap().report.stop;
    assert_eq!(stop(soft.clone().time_limit(Duration::ZERO)), StopReason::Time);
    assert_eq!(
        stop(soft.clone().watch(|p| if p.iteration > 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })),
        StopReason::Cancelled
    );
    assert_eq!(stop(soft.iterations(7)), StopReason::Iterations);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// The marginals hold, swapping the sides transposes the plan, and permuting the points permutes it.
    #[test]
    fn a_plan_has_its_marginals_and_its_symmetries(
        n in 1_usize..20, m in 1_usize..20, d in 1_usize..5, seed in 0_u64..1000, share in 0.02_f64..1.0,
    ) {
        let value = |i: usize, j: usize, s: u64| {
            let h = (i as u64 * 7919 + j as u64 * 104_729 + s * 1_299_709 + seed * 15_485_863) % 10_007;
            h as f32 / 10_007.0
        };
        let x = Array2::from_shape_fn((n, d), |(i, j)| value(i, j, 1));
        let y = Array2::from_shape_fn((m, d), |(i, j)| value(i, j, 2));
        let weights = |n: usize, s: u64| {
            let raw = Array1::from_shape_fn(n, |i| f64::from(value(i, 0, s)) + 0.05);
            (&raw / raw.sum()).to_vec()
        };
        let (a, b) = (weights(n, 3), weights(m, 4));
        let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
        let solver = Sinkhorn::of_mean_cost(share).tolerance(2e-6);
        let coupling = solver.solve(&cost, &a, &b).unwrap();
        // A few problems with a small epsilon need more iterations than the limit, and say so.
        prop_assume!(coupling.report.stop == StopReason::Converged);
        let plan = coupling.plan().mapv(f64::from);
        let off = |sums: Array1<f64>, want: &[f64]| {
            sums.iter().zip(want).map(|(s, w)| (s - w).abs()).sum::<f64>()
        };
        prop_assert!(off(plan.sum_axis(Axis(1)), &a) + off(plan.sum_axis(Axis(0)), &b) < 1e-5);
        let direct = (&plan * &squared(&x.mapv(f64::from), &y.mapv(f64::from))).sum();
        prop_assert!((direct - coupling.report.transport_cost).abs() < 1e-5 * direct + 1e-9);

        let back = Cost::squared_euclidean(y.view(), x.view()).unwrap();
        let turned = solver.solve(&back, &b, &a).unwrap().plan().mapv(f64::from);
        prop_assert!((&turned.t() - &plan).iter().all(|d| d.abs() < 2e-5));

        let reversed = x.slice(ndarray::s![..;-1, ..]);
        let cost = Cost::squared_euclidean(reversed, y.view()).unwrap();
        let a_reversed: Vec<f64> = a.iter().rev().copied().collect();
        let mirrored = solver.solve(&cost, &a_reversed, &b).unwrap().plan().mapv(f64::from);
        prop_assert!((&mirrored.slice(ndarray::s![..;-1, ..]) - &plan).iter().all(|d| d.abs() < 2e-5));
    }
}
