//! Gromov-Wasserstein compared with POT and with known matchings.

use crate::reference::{Reference, squared};
use chiasm_transport::{Error, GromovWasserstein, Space, StopReason, quadratic_assignment, uniform};
use ndarray::{Array2, s};

/// Tolerance: plans and products are in single precision, those of POT in double.
const CLOSE: f64 = 1e-5;

fn spaces(r: &Reference) -> (Space, Space) {
    let space = |name| Space::squared_euclidean(r.points(name).view()).unwrap().normalised();
    (space("x"), space("z"))
}

#[test]
fn entropic_agrees_with_pot_from_points_and_from_matrices() {
    let r = Reference::read();
    let (x, z) = spaces(&r);
    let dense = |name| {
        let d = squared(&r.matrix(name), &r.matrix(name));
        let top = d.iter().fold(0.0_f64, |t, v| t.max(*v));
        Space::matrix((d / top).mapv(|v| v as f32).view()).unwrap()
    };
    let (dx, dz) = (dense("x"), dense("z"));
    let p = uniform(x.size());
    for (x, z) in [(&x, &z), (&dx, &dz), (&x, &dz), (&dx, &z)] {
        let found =
            GromovWasserstein::entropic(0.01).tolerance(1e-6).iterations(500).solve(x, z, &p, &p).unwrap();
        let want = r.number("entropic_gw");
        assert!((found.value - want).abs() < CLOSE * want, "got {}, want {want}", found.value);
        assert!(found.marginal_error < 1e-5);
    }
    let turned =
        GromovWasserstein::entropic(0.01).tolerance(1e-6).iterations(500).solve(&z, &x, &p, &p).unwrap();
    assert!((turned.value - r.number("entropic_gw")).abs() < CLOSE * turned.value);
}

#[test]
fn conditional_gradient_reaches_the_objective_of_pot() {
    let r = Reference::read();
    let (x, z) = spaces(&r);
    let p = uniform(x.size());
    let found = GromovWasserstein::conditional_gradient().solve(&x, &z, &p, &p).unwrap();
    let want = r.number("gw_uniform_start");
    assert!(found.value <= want * (1.0 + CLOSE), "got {}, POT {want}", found.value);
    let many = GromovWasserstein::conditional_gradient().starts(6).solve(&x, &z, &p, &p).unwrap();
    assert!(many.value <= found.value);

    let (px, pz) = (r.matrix("x").slice(s![.., ..3]).to_owned(), r.matrix("z"));
    let linear = squared(&px, &pz);
    let linear = (&linear / linear.iter().fold(0.0_f64, |t, v| t.max(*v))).mapv(|v| v as f32);
    let fused =
        GromovWasserstein::conditional_gradient().fused(linear.view(), 0.5).solve(&x, &z, &p, &p).unwrap();
    let want = r.number("fused_gw");
    assert!(fused.value <= want * (1.0 + CLOSE), "got {}, POT {want}", fused.value);
}

/// For a rotated and permuted copy the true matching has objective zero. A few anchors suffice to find it.
#[test]
fn anchors_recover_a_hidden_matching() {
    let r = Reference::read();
    let x = r.points("x");
    let n = x.nrows();
    let order: Vec<usize> = (0..n).map(|i| (i * 7 + 3) % n).collect();
    let y = Array2::from_shape_fn((n, 5), |(i, k)| -x[[order[i], (k + 1) % 5]]);
    let space = |p: &Array2<f32>| Space::squared_euclidean(p.view()).unwrap().normalised();
    let (sx, sy) = (space(&x), space(&y));
    let p = uniform(n);
    let pairs: Vec<(usize, usize)> = (0..4).map(|j| (order[j], j)).collect();
    let solver = GromovWasserstein::conditional_gradient().anchors(&sx, &sy, &pairs, 0.5).unwrap();
    let found = solver.solve(&sx, &sy, &p, &p).unwrap();
    assert!(found.value < 1e-6, "value {}", found.value);
    assert!((0..n).all(|j| found.plan[[order[j], j]] > 0.9 / n as f32));
}

#[test]
fn invalid_input_is_an_error() {
    let good = Space::matrix(Array2::from_elem((2, 2), 1.0).view()).unwrap();
    let p = uniform(2);
    let skew = ndarray::array![[0.0_f32, 1.0], [5.0, 0.0]];
    assert!(matches!(Space::matrix(skew.view()), Err(Error::Setting { .. })));
    assert!(matches!(Space::matrix(Array2::zeros((2, 3)).view()), Err(Error::Shape { .. })));
    assert!(matches!(Space::squared_euclidean(Array2::zeros((0, 3)).view()), Err(Error::Empty(_))));
    assert!(matches!(
        GromovWasserstein::entropic(-1.0).solve(&good, &good, &p, &p),
        Err(Error::Setting { .. })
    ));
    assert!(matches!(
        GromovWasserstein::entropic(1.0).solve(&good, &good, &p, &[1.0]),
        Err(Error::Shape { .. })
    ));
    assert!(matches!(
        GromovWasserstein::entropic(1.0).anchors(&good, &good, &[(0, 9)], 0.5),
        Err(Error::Setting { .. })
    ));
    // All distances are equal, so any plan is optimal with objective zero.
    for solver in [GromovWasserstein::entropic(0.1), GromovWasserstein::conditional_gradient()] {
        assert!(solver.solve(&good, &good, &p, &p).unwrap().value.abs() < 1e-6);
    }
    let point = Space::squared_euclidean(Array2::zeros((1, 3)).view()).unwrap().normalised();
    assert_eq!(GromovWasserstein::entropic(0.1).solve(&point, &point, &[1.0], &[1.0]).unwrap().value, 0.0);
}

/// For a permuted copy only the true permutation has a CKA of one.
#[test]
fn quadratic_assignment_finds_a_hidden_permutation() {
    let r = Reference::read();
    let x = r.matrix("x");
    let gram = x.dot(&x.t()).slice(s![..20, ..20]).to_owned();
    let hidden: Vec<usize> = (0..20).map(|i| (i * 7 + 3) % 20).collect();
    let shuffled = Array2::from_shape_fn((20, 20), |(i, j)| 3.0 * gram[[hidden[i], hidden[j]]] + 5.0);
    let (places, cka) = quadratic_assignment(gram.view(), shuffled.view(), 200, 1).unwrap();
    assert!((cka - 1.0).abs() < 1e-9, "{cka}");
    assert!(places.iter().enumerate().all(|(i, &place)| hidden[place] == i));
    let still = Array2::ones((4, 4));
    assert_eq!(quadratic_assignment(still.view(), still.view(), 3, 1).unwrap().1, 0.0);
    assert!(matches!(quadratic_assignment(still.view(), gram.view(), 3, 1), Err(Error::Shape { .. })));
    assert!(matches!(
        quadratic_assignment(Array2::zeros((0, 0)).view(), gram.view(), 3, 1),
        Err(Error::Empty(_))
    ));
}

/// Pseudo-random points.
pub fn cloud(n: usize, d: usize, seed: u64) -> Array2<f32> {
    let mut state = seed;
    Array2::from_shape_simple_fn((n, d), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    })
}

fn matrix(d: &Array2<f64>) -> Space {
    let top = d.iter().fold(0.0_f64, |t, v| t.max(*v));
    Space::matrix((d / top).mapv(|v| v as f32).view()).unwrap()
}

/// The reported objective is that of the given matrices, whether they hold squared distances, nearly do, or
/// do not. It is recomputed in double precision from the returned plan; the solver's products are
/// single-precision sums of a few hundred terms.
#[test]
fn the_objective_is_that_of_the_given_matrices() {
    let n = 300;
    let squares = |z: &Array2<f32>| squared(&z.mapv(f64::from), &z.mapv(f64::from));
    let hidden = squares(&cloud(n, 12, 1));
    let mut broken = hidden.clone();
    (broken[[3, 200]], broken[[200, 3]]) = (0.5 * hidden[[3, 200]], 0.5 * hidden[[3, 200]]);
    let other = squares(&cloud(n, 7, 2));
    let p = uniform(n);
    let same = |d: &Array2<f64>| (d / d.iter().fold(0.0_f64, |t, v| t.max(*v))).mapv(|v| f64::from(v as f32));
    for (what, d) in [("hidden", &hidden), ("broken", &broken), ("roots", &hidden.mapv(f64::sqrt))] {
        for (x, y) in [(d, &other), (&other, d), (d, d)] {
            let solver = GromovWasserstein::entropic(0.01).iterations(20);
            let found = solver.solve(&matrix(x), &matrix(y), &p, &p).unwrap();
            let (x, y, plan) = (same(x), same(y), found.plan.mapv(f64::from));
            let (rows, columns) = (plan.sum_axis(ndarray::Axis(1)), plan.sum_axis(ndarray::Axis(0)));
            let square = |d: &Array2<f64>, v: &ndarray::Array1<f64>| v.dot(&(d * d).dot(v));
            let agree = (x.dot(&plan).dot(&y) * &plan).sum();
            let want = square(&x, &rows) + square(&y, &columns) - 2.0 * agree;
            assert!((found.value - want).abs() < 1e-6, "{what}: {} for {want}", found.value);
        }
    }
}

/// A matrix of squared distances gives the same plan as the points themselves.
#[test]
fn matrices_of_squared_distances_give_the_plan_of_the_points() {
    let n = 300;
    let (x, y) = (cloud(n, 12, 1), cloud(n, 7, 2));
    let points = |z: &Array2<f32>| Space::squared_euclidean(z.view()).unwrap().normalised();
    let squares = |z: &Array2<f32>| squared(&z.mapv(f64::from), &z.mapv(f64::from));
    let p = uniform(n);
    let solver = GromovWasserstein::entropic(0.01).iterations(20).tolerance(0.0);
    let plan = |x: &Space, y: &Space| solver.solve(x, y, &p, &p).unwrap().plan;
    let apart = |a: &Array2<f32>, b: &Array2<f32>| (a - b).iter().map(|d| f64::from(d.abs())).sum::<f64>();
    let from_points = plan(&points(&x), &points(&y));
    let hidden = plan(&matrix(&squares(&x)), &matrix(&squares(&y)));
    // Costs of order one with errors of about 1e-7, divided by epsilon = 0.01, over twenty steps.
    assert!(apart(&from_points, &hidden) < 2e-3, "{}", apart(&from_points, &hidden));
}

/// The values are those of the distances in units of one. Products of distances of 1e-18 are no numbers of
/// single precision any more, and those of 1e25 exceed it.
#[test]
fn the_unit_of_the_distances_does_not_matter() {
    let r = Reference::read();
    let inner = |name| {
        let d = squared(&r.matrix(name), &r.matrix(name)).mapv(f64::sqrt);
        let top = d.iter().fold(0.0_f64, |t, v| t.max(*v));
        d / top
    };
    let (dx, dz) = (inner("x"), inner("z"));
    let linear = Array2::from_shape_fn((dx.nrows(), dz.nrows()), |(i, j)| (i * 7 % 11 * j) as f64 / 300.0);
    let p = (uniform(dx.nrows()), uniform(dz.nrows()));
    let solve = |unit: f64| {
        let space = |d: &Array2<f64>| Space::matrix(d.mapv(|d| (d * unit) as f32).view()).unwrap();
        let (x, z) = (space(&dx), space(&dz));
        let entropic = GromovWasserstein::entropic(0.01 * unit * unit).starts(3);
        let exact = GromovWasserstein::conditional_gradient();
        let mut solvers = vec![entropic, exact.clone()];
        if (1e-18..1e18).contains(&unit) {
            solvers.push(exact.fused(linear.mapv(|c| (c * unit * unit) as f32).view(), 0.5));
        }
        let value = |solver: &GromovWasserstein| solver.solve(&x, &z, &p.0, &p.1).map(|found| found.value);
        solvers.iter().map(|solver| value(solver).map(|value| value / unit / unit)).collect::<Vec<_>>()
    };
    let plain = solve(1.0);
    // Powers of two round no distance; a rounding may lead to another stationary point.
    for unit in [-100, -60, -40, -23, 27, 57, 83].map(|power| 2.0_f64.powi(power)) {
        for (k, found) in solve(unit).into_iter().enumerate() {
            let (found, plain) = (found.unwrap(), plain[k].clone().unwrap());
            assert!((found - plain).abs() < CLOSE * plain, "unit {unit}, solver {k}: {found}, plain {plain}");
        }
    }
    let refused = &solve(1e-35)[0];
    assert!(matches!(refused, Err(Error::Breakdown { what: "comparing distances", .. })), "{refused:?}");
}

/// With one target there is one plan: the objective is the mean square of the distances within the source.
#[test]
fn all_mass_on_one_target_is_solved() {
    let x = cloud(20, 3, 4);
    let y = cloud(5, 2, 5);
    let a: Vec<f64> = (0..20).map(|i| 0.01 + i as f64 / 190.0).collect();
    let b = [0.0, 1.2, 0.0, 0.0, 0.0];
    let square = |i: usize, k: usize| (&x.row(i) - &x.row(k)).mapv(|d| f64::from(d).powi(2)).sum();
    let pairs = || (0..20).flat_map(|i| (0..20).map(move |k| (i, k)));
    let longest = pairs().map(|(i, k)| square(i, k)).fold(0.0, f64::max);
    let mean = |(i, k): (usize, usize)| a[i] * a[k] / 1.44 * (square(i, k) / longest).powi(2);
    let expected: f64 = pairs().map(mean).sum();
    let [x, y] = [x, y].map(|x| Space::squared_euclidean(x.view()).unwrap().normalised());
    let found = GromovWasserstein::conditional_gradient().starts(7).solve(&x, &y, &a, &b).unwrap();
    assert_eq!(found.stop, StopReason::Converged);
    assert!((found.value - expected).abs() < CLOSE * expected, "{} for {expected}", found.value);
    assert!((found.plan.column(1).sum() - 1.0).abs() < 1e-6, "single precision: {}", found.plan);
}

/// Between distant clusters an entropic start would take more iterations than it gets. Its plan must meet the
/// weights all the same: off the weights the objective can be lower than that of every plan, and conditional
/// gradient would keep it.
#[test]
fn plans_between_distant_clusters_meet_the_weights() {
    for (seed, apart) in [(1, 1e2_f32), (2, 1e3), (3, 1e4), (4, 30.0)] {
        let x = Array2::from_shape_fn((13, 2), |(i, k)| {
            cloud(13, 2, seed)[[i, k]] + if i % 2 == 0 { apart } else { 0.0 }
        });
        let y = &x + &(cloud(13, 2, seed + 10) * 0.2);
        let space =
            |z: &Array2<f32>| matrix(&squared(&z.mapv(f64::from), &z.mapv(f64::from)).mapv(f64::sqrt));
        let weights = |part: usize| -> Vec<f64> {
            let all: Vec<f64> = (0..13).map(|i| 1.0 + (i % 3) as f64 + (part * (i % 2)) as f64).collect();
            all.iter().map(|w| w / all.iter().sum::<f64>()).collect()
        };
        let a = weights(0);
        for b in [&weights(1), &weights(3)] {
            let solver = GromovWasserstein::conditional_gradient().starts(7);
            let found = solver.solve(&space(&x), &space(&y), &a, b).unwrap();
            let sums = |axis| found.plan.mapv(f64::from).sum_axis(ndarray::Axis(axis)).to_vec();
            let apart =
                |sums: Vec<f64>, w: &[f64]| sums.iter().zip(w).map(|(s, w)| (s - w).abs()).sum::<f64>();
            let off = apart(sums(1), &a) + apart(sums(0), b);
            assert!(off < 1e-6, "{off}"); // the rounding of single precision
        }
    }
}
