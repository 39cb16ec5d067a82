//! Low-rank transport: the plan is feasible, its cost an upper bound, and close to the optimum if the optimal
//! plan has low rank.

use chiasm_transport::{Error, SolverLimits, exact, low_rank, uniform};
use ndarray::{Array2, Axis};

use crate::reference::squared;

/// Four separate groups.
fn groups(n: usize, shift: f32) -> Array2<f32> {
    Array2::from_shape_fn((n, 2), |(i, k)| {
        let corner = if k == 0 { (i % 4) / 2 } else { (i % 4) % 2 } as f32;
        10.0 * corner + shift + 0.1 * ((i * 31 + k * 17) % 13) as f32 / 13.0
    })
}

#[test]
fn rank_four_solves_four_groups() {
    let (x, y) = (groups(400, 0.0), groups(300, 1.0));
    let (a, b) = (uniform(400), uniform(300));
    let limits = SolverLimits::new(200);
    let plan = low_rank(x.view(), y.view(), (&a, &b), 4, 1e-6, &limits).unwrap();
    let cost = squared(&x.mapv(f64::from), &y.mapv(f64::from));
    let best = exact(cost.view(), &a, &b, &SolverLimits::new(1_000_000)).unwrap().transport_cost;
    // Rank four loses the spread within a group, of order 0.01. The optimum is about 2.
    assert!(plan.transport_cost >= best - 1e-4, "{} under the optimum {best}", plan.transport_cost);
    assert!(plan.transport_cost < best + 0.02, "{} against {best}", plan.transport_cost);
    assert!(plan.marginal_error < 1e-5);
    let dense = plan.source.dot(&plan.target.t()) * 4.0;
    for (sum, want) in dense.sum_axis(Axis(1)).iter().zip(&a).chain(dense.sum_axis(Axis(0)).iter().zip(&b)) {
        assert!((f64::from(*sum) - want).abs() < 1e-6);
    }
    let direct = (&dense.mapv(f64::from) * &cost).sum();
    assert!((direct - plan.transport_cost).abs() < 1e-4 * direct, "{direct} {}", plan.transport_cost);
    let moved = plan.barycentric(y.view()).unwrap();
    assert!((&moved - &x - 1.0).iter().all(|d| d.abs() < 0.3), "each point moves to its group's image");
}

/// With as many latent points as target points the inner problems have nearly sparse plans and converge
/// slowly. The marginals must hold all the same, at any scale of the points.
#[test]
fn a_plan_of_full_rank_has_its_marginals_at_any_scale() {
    let r = crate::reference::Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let solve = |scale: f32| {
        let (x, y) = (&x * scale, &y * scale);
        let plan = low_rank(x.view(), y.view(), (&a, &b), 30, 1e-4, &SolverLimits::new(200)).unwrap();
        assert!(plan.marginal_error < 1e-6, "{}", plan.marginal_error);
        plan.transport_cost / f64::from(scale).powi(2)
    };
    let known = r.number("emd");
    let found = solve(1.0);
    assert!(found > known * (1.0 - 1e-5) && found < 1.5 * known, "{found} against {known}");
    for scale in [1e30, 1e-30] {
        assert!((solve(scale) - found).abs() < 1e-2 * found, "{scale}: {} against {found}", solve(scale));
    }
}

#[test]
fn invalid_input_is_an_error_and_degenerate_input_is_not() {
    let x = groups(8, 0.0);
    let p = uniform(8);
    let limits = SolverLimits::new(5);
    assert!(matches!(low_rank(x.view(), x.view(), (&p, &p), 0, 1e-3, &limits), Err(Error::Setting { .. })));
    assert!(matches!(
        low_rank(x.view(), x.view(), (&p, &p[..7]), 2, 1e-3, &limits),
        Err(Error::Shape { .. })
    ));
    let still = Array2::<f32>::ones((8, 2));
    assert!(low_rank(still.view(), still.view(), (&p, &p), 3, 1e-3, &limits).unwrap().transport_cost < 1e-6);
    assert!(low_rank(x.view(), x.view(), (&p, &p), 99, 1e-3, &limits).unwrap().transport_cost.is_finite());
}

/// One row of both clouds is at 1e5. The reported cost is that of the plan, from differences in double
/// precision.
#[test]
fn a_far_row_costs_no_digits() {
    let mut x = Array2::from_shape_fn((30, 3), |(i, k)| ((i * 7 + k * 5) % 11) as f32 / 5.0);
    let mut y = Array2::from_shape_fn((30, 3), |(i, k)| ((i * 3 + k * 8) % 13) as f32 / 6.0);
    x.row_mut(4).fill(1e5);
    y.row_mut(9).fill(1e5);
    let p = uniform(30);
    for rank in [5, 30] {
        let found = low_rank(x.view(), y.view(), (&p, &p), rank, 1e-4, &SolverLimits::new(200)).unwrap();
        let wide = |z: &Array2<f32>| z.mapv(f64::from);
        let plan = wide(&found.source).dot(&wide(&found.target).t()) * found.target.ncols() as f64;
        let cost: f64 = plan
            .indexed_iter()
            .map(|((i, j), p)| p * (&wide(&x).row(i) - &wide(&y).row(j)).mapv(|d| d * d).sum())
            .sum();
        assert!((found.transport_cost - cost).abs() <= 1e-3 * cost, "{} {cost}", found.transport_cost);
    }
}
