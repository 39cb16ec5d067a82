//! Exact transport compared with POT and SciPy, and certified by dual potentials.

use crate::reference::{Reference, squared};
use chiasm_transport::{
    Error, PointDistance, SolverLimits, StopReason, exact, exact_partial, exact_points, on_line, uniform,
};
use ndarray::{Array2, Axis, array};
use proptest::prelude::*;

fn near(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "got {got}, want {want}"); // double precision
}

/// POT solves the same problem with a dummy point by its own network simplex.
#[test]
fn partial_transport_agrees_with_pot() {
    let r = Reference::read();
    let stored: serde_json::Value = serde_json::from_str(include_str!("../reference/spaces.json")).unwrap();
    let cost = squared(&r.matrix("x"), &r.matrix("y"));
    let doubled: Vec<f64> = r.vector("b").iter().map(|b| 2.0 * b).collect();
    let limits = SolverLimits::new(100_000);
    for (name, a, b) in [("partial", uniform(40), uniform(30)), ("partial_weighted", r.vector("a"), doubled)]
    {
        for pair in stored[name].as_array().unwrap() {
            let (mass, want) = (pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap());
            let found = exact_partial(cost.view(), &a, &b, mass, &limits).unwrap();
            assert!((found.transport_cost - want).abs() < 1e-9 * want, "{} for {want}", found.transport_cost);
            let plan = found.plan();
            near(plan.sum(), mass);
            let above = |sums: ndarray::Array1<f64>, w: &[f64]| {
                sums.iter().zip(w).map(|(s, w)| s - w).fold(f64::NEG_INFINITY, f64::max)
            };
            assert!(above(plan.sum_axis(Axis(1)), &a) < 1e-12 && above(plan.sum_axis(Axis(0)), &b) < 1e-12);
            // Another unit and another origin of the costs give the same plan.
            let moved = exact_partial(cost.mapv(|c| 3.0 * c - 50.0).view(), &a, &b, mass, &limits).unwrap();
            assert!((moved.transport_cost - (3.0 * want - 50.0 * mass)).abs() < 1e-9 * 50.0);
        }
    }
    for mass in [0.0, 1.1, f64::NAN] {
        let refused = exact_partial(cost.view(), &uniform(40), &uniform(30), mass, &limits);
        assert!(matches!(refused, Err(Error::Setting { what: "mass", .. })));
    }
}

/// Histograms and points on the line, given by their costs alone: the plan in their order is found with few
/// pivots, where the simplex took hundreds per point. The cost is the area between the cumulative weights for
/// `|x - y|`, and that of the closed form for squares.
#[test]
fn costs_of_points_on_the_line_take_few_pivots() {
    let n = 600;
    let bump = |middle: f64, width: f64| {
        let weight = |i: usize| (-((i as f64 / n as f64 - middle) / width).powi(2)).exp() + 1e-9;
        let sum: f64 = (0..n).map(weight).sum();
        (0..n).map(|i| weight(i) / sum).collect::<Vec<f64>>()
    };
    let (a, b) = (bump(0.2, 0.1), bump(0.6, 0.2));
    // 7 and 600 have no common divisor, so that this is another order of all points.
    let place = |i: usize, shuffled: bool| if shuffled { (7 * i) % n } else { i };
    for (power, shuffled, single) in
        [(1, false, false), (2, false, false), (2, true, false), (2, false, true)]
    {
        let cost = Array2::from_shape_fn((n, n), |(i, j)| {
            let cost = (place(i, shuffled) as f64 - j as f64).abs().powi(power) / 7.0;
            if single { f64::from(cost as f32) } else { cost }
        });
        let weights: Vec<f64> = (0..n).map(|i| a[place(i, shuffled)]).collect();
        let found = exact(cost.view(), &weights, &b, &SolverLimits::new(2 * n)).unwrap();
        assert_eq!(found.stop, StopReason::Converged, "power {power}, shuffled {shuffled}, single {single}");
        let mut ahead = 0.0;
        let area: f64 = a
            .iter()
            .zip(&b)
            .map(|(a, b)| {
                ahead += a - b;
                f64::abs(ahead)
            })
            .sum();
        let points: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let want = if power == 1 { area } else { on_line(&points, &points, &a, &b, 2.0).unwrap().1 };
        let error = (7.0 * found.transport_cost / want - 1.0).abs();
        // Costs that were rounded to single precision have another optimum, by 6e-8 of it.
        assert!(error < if single { 1e-7 } else { 1e-11 }, "{error}");
    }
}

#[test]
fn agrees_with_pot_and_scipy() {
    let r = Reference::read();
    let cost = squared(&r.matrix("x"), &r.matrix("y"));
    let result = exact(cost.view(), &r.vector("a"), &r.vector("b"), &SolverLimits::new(100_000)).unwrap();
    near(result.transport_cost, r.number("emd"));
    assert_eq!(result.stop, StopReason::Converged);
    let square = r.matrix("square");
    let result = exact(square.view(), &uniform(25), &uniform(25), &SolverLimits::new(100_000)).unwrap();
    near(result.transport_cost * 25.0, r.number("assignment"));
    let columns: Vec<f64> = result.entries.iter().map(|entry| entry.target as f64).collect();
    assert_eq!(columns, r.vector("assignment_columns"));
}

/// The same problems, whose cost matrices POT was given.
#[test]
fn transport_between_points_agrees_with_pot() {
    let r = Reference::read();
    let (x, y) = (r.matrix("x"), r.matrix("y"));
    let limits = SolverLimits::new(100_000);
    let squared = PointDistance::SquaredEuclidean;
    let found = exact_points(x.view(), y.view(), squared, &r.vector("a"), &r.vector("b"), &limits).unwrap();
    near(found.transport_cost, r.number("emd"));
    assert_eq!(found.stop, StopReason::Converged);
}

/// Clouds that do not fit into one block of costs, with points without mass, repeated points, and clouds far
/// from each other and from zero: the dense solver and the duality gap agree to 1e-9 of the cost.
#[test]
fn transport_between_points_agrees_with_that_on_their_cost_matrix() {
    let mut state = 7_u64;
    let mut uniform_number = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for (n, m, d, offset) in [(150, 2300, 3, 0.0), (130, 140, 20, 1e4), (1, 5, 2, 0.0), (70, 70, 1, -3.0)] {
        let mut x = Array2::from_shape_simple_fn((n, d), &mut uniform_number);
        let y = Array2::from_shape_simple_fn((m, d), &mut uniform_number) + offset;
        for row in 0..n / 5 {
            let copy = x.row(row).to_owned();
            x.row_mut(n - 1 - row).assign(&copy);
        }
        let mut a: Vec<f64> = (0..n).map(|i| (i % 4) as f64).collect();
        a[0] = 1.0;
        let total: f64 = a.iter().sum();
        let b = vec![total / m as f64; m];
        for distance in [PointDistance::SquaredEuclidean, PointDistance::Euclidean] {
            let square = squared(&x, &y);
            let cost = match distance {
                PointDistance::Euclidean => square.mapv(f64::sqrt),
                PointDistance::SquaredEuclidean => square,
            };
            let limits = SolverLimits::new(1_000_000);
            let dense = exact(cost.view(), &a, &b, &limits).unwrap();
            let found = exact_points(x.view(), y.view(), distance, &a, &b, &limits).unwrap();
            let error = (found.transport_cost - dense.transport_cost).abs() / dense.transport_cost;
            assert!(error < 1e-9, "{n} x {m} in {d} dimensions, {distance:?}: {error}");
            assert_eq!(found.stop, StopReason::Converged);
            assert!(found.gap.abs() < 1e-9 * found.transport_cost, "gap {}", found.gap);
            let plan = found.plan();
            let moved = (plan.sum_axis(Axis(1)) - ndarray::aview1(&a)).mapv(f64::abs).sum();
            assert!(moved < 1e-9 * total, "{moved}");
        }
    }
    // equal clouds cost nothing, equal points too
    let x = Array2::from_shape_simple_fn((40, 3), &mut uniform_number);
    let limits = SolverLimits::new(100_000);
    for x in [x, Array2::ones((40, 3))] {
        let distance = PointDistance::SquaredEuclidean;
        let found = exact_points(x.view(), x.view(), distance, &uniform(40), &uniform(40), &limits).unwrap();
        assert_eq!((found.transport_cost, found.stop), (0.0, StopReason::Converged));
    }
}

#[test]
fn agrees_with_pot_on_the_line() {
    let r = Reference::read();
    let (x, y, a, b) = (r.vector("line_x"), r.vector("line_y"), r.vector("a"), r.vector("b"));
    near(on_line(&x, &y, &a, &b, 1.0).unwrap().1, r.number("line_1"));
    near(on_line(&x, &y, &a, &b, 2.0).unwrap().1, r.number("line_2"));
    let cost = Array2::from_shape_fn((x.len(), y.len()), |(i, j)| (x[i] - y[j]).abs().powf(1.5));
    let plane = exact(cost.view(), &a, &b, &SolverLimits::new(100_000)).unwrap().transport_cost;
    near(on_line(&x, &y, &a, &b, 1.5).unwrap().1, plane);
}

#[test]
fn invalid_input_is_an_error_and_extreme_input_is_solved() {
    let limits = SolverLimits::new(1000);
    let nan = array![[0.0, f64::NAN]];
    assert!(matches!(exact(nan.view(), &[1.0], &[0.5, 0.5], &limits), Err(Error::NotFinite { .. })));
    assert!(matches!(exact(Array2::zeros((0, 1)).view(), &[], &[1.0], &limits), Err(Error::Empty(_))));
    let flat = Array2::from_elem((7, 7), 3.0);
    near(exact(flat.view(), &uniform(7), &uniform(7), &limits).unwrap().transport_cost, 3.0);
    let zero = Array2::<f64>::zeros((3, 5));
    near(exact(zero.view(), &uniform(3), &uniform(5), &limits).unwrap().transport_cost, 0.0);
    let huge = array![[1e300, 2e300], [3e300, 1e299]];
    let result = exact(huge.view(), &[0.5, 0.5], &[0.5, 0.5], &limits).unwrap();
    near(result.transport_cost / 1e300, 0.55);
    let negative = array![[-5.0, 1.0], [1.0, -7.0]];
    near(exact(negative.view(), &[2.0, 3.0], &[2.0, 3.0], &limits).unwrap().transport_cost, -31.0);
    let weights = exact(negative.view(), &[0.0, 1.0], &[1.0, 0.0], &limits).unwrap();
    near(weights.transport_cost, 1.0);
    assert!(matches!(on_line(&[0.0], &[1.0], &[1.0], &[1.0], 0.5), Err(Error::Setting { .. })));
    assert!(matches!(on_line(&[], &[1.0], &[], &[1.0], 1.0), Err(Error::Empty(_))));
}

/// The first problem has one plan over the allowed entries: rows 1 and 2 fill column 1, and row 0 fills the
/// others.
#[test]
fn forbidden_entries_are_avoided_exactly() {
    let limits = SolverLimits::new(10_000);
    for forbidden in [1e12, 1e20, 1e32, f64::INFINITY] {
        let cost = array![[1.0, forbidden, 3.0], [forbidden, 2.0, 7.0], [4.0, 5.0, forbidden]];
        let (a, b) = ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]);
        let found = exact(cost.view(), &a, &b, &limits).unwrap();
        near(found.transport_cost, 0.25 * 1.0 + 0.25 * 3.0 + 0.25 * 2.0 + 0.25 * 5.0);
        assert_eq!(found.stop, StopReason::Converged);
        assert!(found.gap.abs() < 1e-12, "gap {}", found.gap);
        let uniform3 = exact(cost.view(), &uniform(3), &uniform(3), &limits).unwrap();
        near(uniform3.transport_cost, (3.0 + 2.0 + 4.0) / 3.0);
    }
    // A row without an allowed entry: infinite costs have no plan, finite ones are paid.
    for (forbidden, possible) in [(f64::INFINITY, false), (1e32, true)] {
        let cost = array![[forbidden, forbidden], [1.0, 2.0]];
        match exact(cost.view(), &[0.4, 0.6], &uniform(2), &limits) {
            Ok(found) => assert!(possible && (found.transport_cost / 4e31 - 1.0).abs() < 1e-12),
            Err(error) => assert!(!possible && error.to_string().contains("no plan avoids"), "{error}"),
        }
    }
    let cost = array![[f64::INFINITY, 1.0], [2.0, f64::INFINITY]];
    assert!(exact(cost.view(), &[0.4, 0.6], &uniform(2), &limits).is_err());
    let part = exact_partial(cost.view(), &[0.4, 0.6], &uniform(2), 0.9, &limits).unwrap();
    near(part.transport_cost, 0.4 + 0.5 * 2.0);
    // Weights in single precision leave a rounding error that only a forbidden entry could carry.
    let third = f64::from(1.0_f32 / 3.0);
    let cost = array![[1.0, 1.0, f64::INFINITY], [f64::INFINITY, f64::INFINITY, 2.0]];
    let found =
        exact(cost.view(), &[2.0 / 3.0, 1.0 / 3.0], &[third, third, 1.0 - 2.0 * third], &limits).unwrap();
    assert!((found.transport_cost - 4.0 / 3.0).abs() < 1e-6, "{}", found.transport_cost);
}

/// A cost that is tiny beside the range of the costs is not called optimal on the strength of a rounded gap.
#[test]
fn a_gap_beyond_the_tolerance_is_not_converged() {
    let x: Vec<f64> = (0..60).map(|i| f64::from(i) * 1e4 + f64::from(i % 7)).collect();
    let cost = Array2::from_shape_fn((60, 60), |(i, j)| (x[i] - x[j] - 1e-5 * (j % 3) as f64).powi(2));
    let weights: Vec<f64> = (0..60).map(|i| f64::from(1 + i % 4) / 150.0).collect();
    let found = exact(cost.view(), &weights, &weights, &SolverLimits::new(100_000)).unwrap();
    let converged = found.stop == StopReason::Converged;
    assert_eq!(converged, found.gap.abs() <= 1e-9 * found.transport_cost, "gap {:e}", found.gap);
}

/// The problem is large enough for the entropic start, which must not change the result.
#[test]
fn the_entropic_start_leads_to_a_certified_optimum() {
    let value = |i: usize, s: usize| ((i * 7919 + s * 104_729) % 10_007) as f64 / 10_007.0;
    let cost = Array2::from_shape_fn((150, 130), |(i, j)| {
        (value(i, 1) - value(j, 2)).powi(2) + value(i * 131 + j, 3)
    });
    let raw: Vec<f64> = (0..150).map(|i| value(i, 5)).collect();
    let a: Vec<f64> = raw.iter().map(|w| w / raw.iter().sum::<f64>()).collect();
    let square = cost.slice(ndarray::s![..130, ..]);
    for result in [
        exact(cost.view(), &a, &uniform(130), &SolverLimits::new(1_000_000)).unwrap(),
        exact(square, &uniform(130), &uniform(130), &SolverLimits::new(1_000_000)).unwrap(),
    ] {
        assert_eq!(result.stop, StopReason::Converged);
        assert!(result.gap.abs() < 1e-12, "gap {}", result.gap);
    }
}

/// The mean of equal costs may be rounded below each of them.
#[test]
fn equal_costs_are_solved_whatever_their_mean_is_rounded_to() {
    let raw: Vec<f64> = (0..60).map(|i| 1.0 + f64::from(i % 7)).collect();
    let a: Vec<f64> = raw.iter().map(|w| w / raw.iter().sum::<f64>()).collect();
    for value in [0.1, 0.3, 0.7, 1e-3, 1e9 / 3.0, -0.1, -1e9 / 7.0] {
        let cost = Array2::from_elem((60, 60), value);
        for weights in [uniform(60), a.clone()] {
            let found = exact(cost.view(), &weights, &uniform(60), &SolverLimits::new(100_000)).unwrap();
            near(found.transport_cost, value);
            assert_eq!(found.stop, StopReason::Converged);
        }
    }
}

/// The searches of the assignment look at a part of the columns of rows this long. The dual potentials prove
/// each optimum: feasible potentials with the value of the plan (tolerance: rounding of 1,200 additions).
#[test]
fn assignments_with_few_candidates_many_ties_or_none_are_certified() {
    let n = 1200;
    let number = |i: usize, j: usize| ((i * 7919 + j * 104_729 + i * j * 31) % 10_007) as f64 / 10_007.0;
    let plane = |i: usize, side: usize| [number(i, 3 + side), number(i, 11 + side)];
    let squared = |i: usize, j: usize| {
        let (x, y) = (plane(i, 0), plane(j, 5));
        (x[0] - y[0] - 0.3).powi(2) + (x[1] - y[1]).powi(2)
    };
    type Kind<'k> = (&'k str, &'k dyn Fn(usize, usize) -> f64);
    let kinds: [Kind<'_>; 5] = [
        ("points of a plane", &squared),
        ("independent", &number),
        ("ten integers", &|i, j| (number(i, j) * 10.0).floor()),
        ("two integers", &|i, j| f64::from(number(i, j) < 0.5)),
        ("products", &|i, j| number(i, 1) * number(j, 2)),
    ];
    for (kind, of) in kinds {
        let cost = Array2::from_shape_fn((n, n), |(i, j)| of(i, j));
        let found = exact(cost.view(), &uniform(n), &uniform(n), &SolverLimits::new(100_000)).unwrap();
        assert_eq!(found.stop, StopReason::Converged, "{kind}");
        let (f, g) = (&found.source_potential, &found.target_potential);
        let least = cost.indexed_iter().map(|((i, j), c)| c - f[i] - g[j]).fold(f64::INFINITY, f64::min);
        assert!(least >= -1e-12, "{kind}: the potentials exceed a cost by {}", -least);
        let dual = (f.sum() + g.sum()) / n as f64;
        assert!((found.transport_cost - dual).abs() < 1e-10, "{kind}: {} {dual}", found.transport_cost);
        let mut columns: Vec<usize> = found.entries.iter().map(|entry| entry.target).collect();
        columns.sort_unstable();
        assert!(columns.into_iter().eq(0..n), "{kind}: not an assignment");
    }
}

#[test]
fn a_solve_that_hits_a_limit_reports_it_and_returns_a_plan() {
    let cost = Array2::from_shape_fn((80, 70), |(i, j)| (((i * 7919 + j * 104_729) % 1009) as f64).sqrt());
    let raw: Vec<f64> = (0..80).map(|i| 1.0 + (i % 7) as f64).collect();
    let a: Vec<f64> = raw.iter().map(|w| w / raw.iter().sum::<f64>()).collect();
    let result = exact(cost.view(), &a, &uniform(70), &SolverLimits::new(1)).unwrap();
    assert_eq!(result.stop, StopReason::Iterations);
    assert!(result.gap >= 0.0);
}

/// Identity, symmetry and the triangle inequality.
#[test]
fn w2_is_a_metric() {
    let cloud = |n: usize, s: usize| {
        Array2::from_shape_fn((n, 3), |(i, k)| {
            ((i * 7919 + k * 104_729 + s * 1_299_709) % 1009) as f64 / 1009.0
        })
    };
    let clouds = [cloud(30, 1), cloud(40, 2) + 0.5, cloud(25, 3) * 2.0];
    let w2 = |i: usize, j: usize| {
        let (x, y): (&Array2<f64>, &Array2<f64>) = (&clouds[i], &clouds[j]);
        let limits = SolverLimits::new(1_000_000);
        let cost = squared(x, y);
        exact(cost.view(), &uniform(x.nrows()), &uniform(y.nrows()), &limits)
            .unwrap()
            .transport_cost
            .max(0.0)
            .sqrt()
    };
    for (i, j, k) in [(0, 1, 2), (1, 2, 0), (2, 0, 1)] {
        assert!(w2(i, i) < 1e-7);
        near(w2(i, j), w2(j, i));
        assert!(w2(i, k) <= w2(i, j) + w2(j, k) + 1e-12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// A feasible plan with feasible dual potentials of the same value is optimal. Integer costs give ties
    /// and duplicates.
    #[test]
    fn the_dual_potentials_certify_the_plan(
        n in 1_usize..30,
        m in 1_usize..30,
        seed in 0_u64..1000,
        levels in 1_u64..50,
        equal: bool,
    ) {
        let m = if equal { n } else { m };
        let hash = |i: usize, j: usize| {
            let mixed = i as u64 * 7919 + j as u64 * 104_729 + seed * 1_299_709;
            mixed.wrapping_mul(2_654_435_761) >> 7
        };
        let cost = Array2::from_shape_fn((n, m), |(i, j)| (hash(i, j) % levels) as f64);
        let weights = |n: usize, s: usize| -> Vec<f64> {
            if equal { return uniform(n); }
            let first = |i: usize| if i == 0 { 1.0 } else { 0.0 };
            let raw: Vec<f64> = (0..n).map(|i| (hash(i, s) % 5) as f64 + first(i)).collect();
            raw.iter().map(|w| w / raw.iter().sum::<f64>()).collect()
        };
        let (a, b) = (weights(n, 1000), weights(m, 2000));
        let result = exact(cost.view(), &a, &b, &SolverLimits::new(1_000_000)).unwrap();
        prop_assert_eq!(result.stop, StopReason::Converged);
        let plan = result.plan();
        let (rows, columns) = (plan.sum_axis(Axis(1)), plan.sum_axis(Axis(0)));
        for (sum, want) in rows.iter().zip(&a).chain(columns.iter().zip(&b)) {
            prop_assert!((sum - want).abs() < 1e-12);
        }
        prop_assert!(plan.iter().all(|&p| p >= 0.0));
        for ((i, j), c) in cost.indexed_iter() {
            prop_assert!(result.source_potential[i] + result.target_potential[j] <= c + 1e-9);
        }
        prop_assert!(result.gap.abs() <= 1e-9 * result.transport_cost.max(1.0), "gap {}", result.gap);
    }
}
