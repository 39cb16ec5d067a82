//! Low-rank Gromov-Wasserstein: its objective is that of its plan and close to the full solver's.

use chiasm_transport::{
    Error, GromovWasserstein, LowRankPlan, SolverLimits, Space, StopReason, low_rank_gromov, uniform,
};
use ndarray::{Array2, Axis};

use crate::reference::{Reference, squared};

/// Seven groups in the plane at places without symmetry, and a rotated, mirrored and permuted copy.
fn groups(n: usize) -> (Array2<f32>, Array2<f32>) {
    let places = [[0.0, 0.0], [5.0, 1.0], [2.0, 7.0], [9.0, 4.0], [-4.0, 3.0], [1.0, -6.0], [12.0, -3.0]];
    let wave = |i: usize, k: usize| ((i * 37 + k * 101) % 53) as f32 / 53.0 - 0.5;
    let x = Array2::from_shape_fn((n, 2), |(i, k)| places[i % 7][k] + wave(i, k));
    let y = Array2::from_shape_fn((n, 3), |(i, k)| {
        let row = x.row((i * 11 + 5) % n);
        [0.6 * row[0] + 0.8 * row[1], 0.8 * row[0] - 0.6 * row[1], 2.0][k]
    });
    (x, y)
}

fn space(points: &Array2<f32>) -> Space {
    Space::squared_euclidean(points.view()).unwrap().normalised()
}

fn distances(points: &Array2<f32>) -> Array2<f64> {
    let points = points.mapv(f64::from);
    let d = squared(&points, &points);
    let top = d.iter().fold(0.0_f64, |top, v| top.max(*v));
    d / top
}

/// `sum (D_ik - E_jl)^2 P_ij P_kl` of the dense plan, in double precision.
fn objective(plan: &LowRankPlan, d: &Array2<f64>, e: &Array2<f64>) -> f64 {
    let p = plan.source.mapv(f64::from).dot(&plan.target.t().mapv(f64::from)) * plan.source.ncols() as f64;
    let (rows, columns) = (p.sum_axis(Axis(1)), p.sum_axis(Axis(0)));
    let own = |d: &Array2<f64>, w: &ndarray::Array1<f64>| w.dot(&(d * d).dot(w));
    own(d, &rows) + own(e, &columns) - 2.0 * (&d.dot(&p).dot(e) * &p).sum()
}

#[test]
fn groups_are_matched_to_their_images() {
    let (x, y) = groups(301);
    let p = uniform(301);
    let plan = low_rank_gromov(&space(&x), &space(&y), (&p, &p), 7, 1e-6, &SolverLimits::new(200)).unwrap();
    let group = |i: usize| i % 7;
    let image = |j: usize| group((j * 11 + 5) % 301);
    let dense = plan.source.dot(&plan.target.t()) * 7.0;
    let kept: f32 = dense.indexed_iter().filter(|((i, j), _)| group(*i) == image(*j)).map(|(_, p)| p).sum();
    assert!(kept > 0.99, "mass within a group: {kept}");
    // The optimum is zero. A plan of rank seven loses the spread within groups, 1e-3 of the largest distance.
    assert!(plan.transport_cost < 2e-3, "{}", plan.transport_cost);
    assert_eq!(plan.stop, StopReason::Converged);
}

#[test]
fn the_objective_is_that_of_the_plan_and_near_the_full_solver() {
    let r = Reference::read();
    let (x, z) = (r.points("x"), r.points("z"));
    let (a, b) = (r.vector("a"), uniform(z.nrows()));
    let (sx, sz) = (space(&x), space(&z));
    let full = GromovWasserstein::conditional_gradient().starts(6).solve(&sx, &sz, &a, &b).unwrap().value;
    let mut before = f64::INFINITY;
    for rank in [1, 5, 15, 30] {
        let plan = low_rank_gromov(&sx, &sz, (&a, &b), rank, 1e-5, &SolverLimits::new(500)).unwrap();
        let direct = objective(&plan, &distances(&x), &distances(&z));
        let value = plan.transport_cost;
        assert!((value - direct).abs() < 1e-5 * direct, "rank {rank}: {value}, recomputed {direct}");
        assert!(plan.marginal_error < 1e-6, "{}", plan.marginal_error);
        assert!(value < before, "rank {rank}: {value}, the previous rank {before}");
        before = value;
    }
    // With thirty latent points for thirty points only the local optimum may differ.
    assert!(before > full * (1.0 - 1e-3) && before < 1.25 * full, "{before}, the full solver {full}");
}

#[test]
fn invalid_input_is_an_error_and_degenerate_input_is_not() {
    let (x, _) = groups(21);
    let (s, p) = (space(&x), uniform(21));
    let limits = SolverLimits::new(5);
    let solve = |x: &Space, a: &[f64], rank| low_rank_gromov(x, &s, (a, &p), rank, 1e-3, &limits);
    assert!(matches!(solve(&s, &p, 0), Err(Error::Setting { .. })));
    assert!(matches!(solve(&s, &p[..20], 3), Err(Error::Shape { .. })));
    assert!(matches!(solve(&s, &[2.0 / 21.0; 21], 3), Err(Error::Mass { .. })));
    let dense = Space::matrix(Array2::ones((21, 21)).view()).unwrap();
    assert!(matches!(solve(&dense, &p, 3), Err(Error::Breakdown { .. })));
    assert!(matches!(Space::squared_euclidean((&x * 1e25).view()), Err(Error::Breakdown { .. })));
    assert!(solve(&s, &p, 99).unwrap().transport_cost.is_finite());
    let still = space(&Array2::ones((21, 2)));
    let none = solve(&still, &p, 3).unwrap();
    assert!(none.transport_cost.is_finite() && none.marginal_error < 1e-5);
    let one = low_rank_gromov(&space(&Array2::zeros((1, 3))), &s, (&[1.0], &p), 4, 1e-3, &limits).unwrap();
    assert!(one.transport_cost > 0.0 && one.source.ncols() == 1);
    let mut weights = p.clone();
    (weights[0], weights[1]) = (0.0, 2.0 / 21.0);
    assert!(solve(&s, &weights, 3).unwrap().source.row(0).iter().all(|&q| q.abs() < 1e-9));
}
