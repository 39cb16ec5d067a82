//! Matching without pairs: geodesic distances, mirrored optima, and when the entropic method stops.

use crate::gromov::cloud;
use chiasm_transport::{
    DELIBERATE_STARTS, Error, GromovWasserstein, Space, StopReason, barycentric, geodesic, uniform,
};
use ndarray::{Array2, ArrayView2};
use serde_json::Value;

fn stored() -> Value {
    serde_json::from_str(include_str!("../reference/spaces.json")).unwrap()
}

fn euclidean(x: ArrayView2<'_, f32>) -> Array2<f32> {
    Array2::from_shape_fn((x.nrows(), x.nrows()), |(i, j)| {
        x.row(i).iter().zip(x.row(j)).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt() as f32
    })
}

/// Two neighbours leave several parts of sixty points. SciPy's shortest paths are in double precision.
#[test]
fn geodesic_distances_are_those_of_scipy() {
    let stored = stored();
    assert!(stored["parts"].as_u64().unwrap() > 1);
    let paths = geodesic(euclidean(cloud(60, 3, 5).view()).view(), 2).unwrap();
    for (i, row) in stored["paths"].as_array().unwrap().iter().enumerate() {
        for (j, want) in row.as_array().unwrap().iter().enumerate() {
            assert!((f64::from(paths[[i, j]]) - want.as_f64().unwrap()).abs() < 1e-6);
        }
    }
    let (sum, want) = (paths.mapv(f64::from).sum(), stored["paths_sum"].as_f64().unwrap());
    assert!((sum / want - 1.0).abs() < 1e-6, "{sum} for {want}");
    assert_eq!(paths, paths.t());
}

#[test]
fn all_neighbours_give_the_distances_themselves() {
    let d = euclidean(cloud(20, 2, 3).view());
    // Shortest paths never exceed a distance, and by the triangle inequality none is shorter.
    let apart = (geodesic(d.view(), 99).unwrap() - &d).mapv(f32::abs);
    assert!(apart.iter().all(|gap| *gap < 1e-6));
    assert!(matches!(geodesic(d.view(), 0), Err(Error::Setting { .. })));
    assert!(matches!(geodesic((-d).view(), 3), Err(Error::Setting { .. })));
    assert!(matches!(geodesic(Array2::zeros((2, 3)).view(), 3), Err(Error::Shape { .. })));
    assert_eq!(geodesic(Array2::zeros((1, 1)).view(), 3).unwrap(), Array2::<f32>::zeros((1, 1)));
}

/// One hidden number per point, seen as a spiral in three dimensions and as a bent line in ten. More points
/// lie near the start, so that the two ends differ.
fn two_views(n: usize) -> (Array2<f32>, Array2<f32>) {
    let hidden = |i: usize| ((i as f64 + 0.5) / n as f64).powf(1.5);
    let noise = (cloud(n, 3, 11), cloud(n, 10, 12));
    let spiral = Array2::from_shape_fn((n, 3), |(i, k)| {
        let angle = 1.5 + 9.0 * hidden(i);
        let point = [angle * angle.cos(), angle * angle.sin(), 0.5 * angle][k];
        point as f32 + 0.3 * noise.0[[i, k]]
    });
    let line = Array2::from_shape_fn((n, 10), |(i, k)| {
        let point = 4.0 * hidden(i) * (k as f64 + 1.0).sin() + (1.7 * hidden(i) + k as f64).sin();
        point as f32 + 0.2 * noise.1[[i, k]]
    });
    (spiral, line)
}

/// The mean share of target points that are closer to the image of a source point than its partner.
fn foscttm(plan: &Array2<f32>, y: &Array2<f32>) -> f64 {
    let images = barycentric(plan.view(), y.view()).unwrap();
    let apart = |i: usize, j: usize| (&images.row(i) - &y.row(j)).mapv(|d| d * d).sum();
    let closer = |i: usize| (0..y.nrows()).filter(|&j| apart(i, j) < apart(i, i)).count();
    let n = y.nrows() as f64;
    (0..y.nrows()).map(|i| closer(i) as f64).sum::<f64>() / (n * (n - 1.0))
}

/// Straight distances fold the spiral; along it, both views are the same line. The neighbours are chosen by
/// the objective alone.
#[test]
fn geodesic_distances_match_two_curves_of_different_width() {
    let (x, y) = two_views(150);
    let p = uniform(150);
    let solver = GromovWasserstein::entropic(2e-3).starts(DELIBERATE_STARTS).iterations(200);
    let solve = |neighbours: Option<usize>| {
        let space = |z: &Array2<f32>| {
            let direct = euclidean(z.view());
            let d = neighbours.map_or_else(|| direct.clone(), |k| geodesic(direct.view(), k).unwrap());
            Space::matrix(d.view()).unwrap().normalised()
        };
        solver.solve(&space(&x), &space(&y), &p, &p).unwrap()
    };
    let share = |neighbours: &usize| {
        let found = solve(Some(*neighbours));
        (found.unexplained(), foscttm(&found.plan, &y), found.next_best.unwrap() / found.value)
    };
    let tried: Vec<_> = [4, 8, 16, 40].iter().map(share).collect();
    let best = tried.iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let straight = foscttm(&solve(None).plan, &y);
    assert!(best.1 < 0.05, "{tried:?}, straight {straight}");
    assert!(best.2 > 1.1, "the mirrored matching is clearly worse: {tried:?}");
    assert!(straight > 2.0 * best.1, "straight {straight}, {tried:?}");
}

/// Points of a line that are symmetric about their middle match in two ways, both perfect.
#[test]
fn equally_good_matchings_are_ambiguous() {
    let p = uniform(5);
    let space = |x: &[f32]| {
        let points = Array2::from_shape_vec((5, 1), x.to_vec()).unwrap();
        Space::squared_euclidean(points.view()).unwrap().normalised()
    };
    let solver = GromovWasserstein::conditional_gradient().starts(DELIBERATE_STARTS);
    let solve = |x: &[f32]| solver.solve(&space(x), &space(x), &p, &p).unwrap();
    let symmetric = solve(&[-2.0, -1.0, 0.0, 1.0, 2.0]);
    assert!(symmetric.unexplained() < 1e-6 && symmetric.is_ambiguous(), "{symmetric:?}");
    let lopsided = solve(&[-2.0, -1.0, 0.0, 1.0, 9.0]);
    assert!(lopsided.unexplained() < 1e-6 && !lopsided.is_ambiguous(), "{lopsided:?}");
}

/// The product plan alone ends in the worse of two optima for some of these clouds.
#[test]
fn several_starts_avoid_mirrored_optima() {
    let p = uniform(60);
    let mut worse = 0;
    for seed in 0..6 {
        let x = cloud(60, 3, 20 + seed);
        let y = Array2::from_shape_fn((60, 4), |(i, k)| if k < 3 { -x[[i, 2 - k]] } else { 0.0 });
        let y = y + 0.2 * cloud(60, 4, 40 + seed);
        let space = |z: &Array2<f32>| Space::squared_euclidean(z.view()).unwrap().normalised();
        let solver = GromovWasserstein::entropic(5e-3).iterations(200);
        let one = solver.solve(&space(&x), &space(&y), &p, &p).unwrap();
        assert_eq!(one.next_best, None);
        let many = solver.starts(DELIBERATE_STARTS).solve(&space(&x), &space(&y), &p, &p).unwrap();
        assert!(many.value <= one.value * 1.001, "{} after {}", many.value, one.value);
        assert!(many.next_best.is_none_or(|next| next >= many.objective));
        assert!(many.value < many.unmatched);
        worse += usize::from(one.value > 1.1 * many.value);
    }
    assert!(worse > 0, "the product plan was never mirrored");
}

/// The entropic method compares optima by what it minimises, the value plus `epsilon KL(T | a b^T)`. By the
/// value alone, another one than the best is lower for some of these clouds.
#[test]
fn optima_of_the_entropic_method_are_compared_with_their_entropy() {
    let (n, epsilon) = (20, 2e-2);
    let p = uniform(n);
    let mut others = 0;
    for seed in 0..12 {
        let space = |z: &Array2<f32>| Space::squared_euclidean(z.view()).unwrap().normalised();
        let (x, y) = (cloud(n, 3, 100 + seed), cloud(n, 2, 200 + seed));
        let solver = GromovWasserstein::entropic(epsilon).iterations(300).starts(DELIBERATE_STARTS);
        let found = solver.solve(&space(&x), &space(&y), &p, &p).unwrap();
        let term = |t: &f32| f64::from(*t) * (f64::from(*t) * (n * n) as f64).max(1e-300).ln();
        let objective = found.value + epsilon * found.plan.iter().map(term).sum::<f64>();
        // The plan is in single precision.
        assert!((found.objective / objective - 1.0).abs() < 1e-5, "{} for {objective}", found.objective);
        if let Some(next) = found.next_best {
            assert!(next >= found.objective, "{next} for {}", found.objective);
            others += 1;
        }
    }
    assert!(others > 6, "{others}");
}

/// Clouds whose plan drifts for hundreds of iterations after the objective has settled. The entropic
/// objective is that of POT, whose plan converges in double precision, or lower.
#[test]
fn a_flat_objective_ends_the_entropic_method() {
    let n = 200;
    let p = uniform(n);
    let space = |z: Array2<f32>| Space::matrix(euclidean(z.view()).view()).unwrap().normalised();
    let (x, y) = (space(cloud(n, 5, 1)), space(cloud(n, 3, 2)));
    for (epsilon, name) in [(1e-2, "objective_0.01"), (5e-3, "objective_0.005")] {
        let solver = GromovWasserstein::entropic(epsilon).iterations(1000).flat_objective(1e-6);
        let found = solver.solve(&x, &y, &p, &p).unwrap();
        let own = |t: &f32| f64::from(*t) * (f64::from(*t) * (n * n) as f64).max(1e-300).ln();
        let objective = found.value + epsilon * found.plan.iter().map(own).sum::<f64>();
        let want = stored()[name].as_f64().unwrap();
        assert!(matches!(found.stop, StopReason::Flat | StopReason::Converged), "{:?}", found.stop);
        assert!(found.iterations < 200, "{} iterations", found.iterations);
        // Ten iterations that lower the objective by 1e-6 of it are followed by a few dozen like them.
        assert!(objective < want * (1.0 + 2e-5), "{objective} for POT's {want}");
    }
}
