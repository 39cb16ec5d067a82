//! Entropic transport where expanded squared distances would cancel: far rows, distant clusters, distant
//! clouds.

use chiasm_transport::{Cost, Sinkhorn, uniform};
use ndarray::Array2;

/// Two clouds in which one row, of both, is far from the others, and two clouds of two clusters far apart.
/// The reference is the log-domain iteration in double precision on costs from differences; single precision
/// leaves about five digits.
#[test]
fn far_rows_and_far_clusters_do_not_cancel() {
    let value = |i: usize, s: usize| ((i * 7919 + s * 104_729) % 10_007) as f64 / 10_007.0;
    let cloud = |n: usize, s: usize| Array2::from_shape_fn((n, 3), |(i, k)| value(i * 3 + k, s) * 2.0);
    let (mut x, mut y) = (cloud(30, 1), cloud(30, 2));
    for far in [1e5, 1e8] {
        x.row_mut(3).fill(far);
        y.row_mut(7).fill(far + 0.5);
        agrees_with_the_log_domain(&x, &y, 0.5);
    }
    let clusters = |z: Array2<f64>| {
        Array2::from_shape_fn(z.dim(), |(i, k)| z[[i, k]] * 0.1 + if i % 2 == 0 { 1e4 } else { 0.0 })
    };
    agrees_with_the_log_domain(&clusters(cloud(30, 1)), &clusters(cloud(30, 2)), 0.01);
    // All of one cloud is far from the other.
    agrees_with_the_log_domain(&cloud(40, 1), &(cloud(30, 2) + 1e5), 0.5);
}

fn agrees_with_the_log_domain(x: &Array2<f64>, y: &Array2<f64>, epsilon: f64) {
    let (n, m) = (x.nrows(), y.nrows());
    let direct = Array2::from_shape_fn((n, m), |(i, j)| (&x.row(i) - &y.row(j)).mapv(|v| v * v).sum());
    let least = |values: &mut dyn Iterator<Item = f64>| -> f64 {
        let values: Vec<f64> = values.collect();
        let top = values.iter().fold(f64::NEG_INFINITY, |top, v| top.max(*v));
        -epsilon * (top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln())
    };
    let (mut f, mut g) = (vec![0.0; n], vec![0.0; m]);
    for _ in 0..4000 {
        for i in 0..n {
            f[i] = least(&mut (0..m).map(|j| (g[j] - direct[[i, j]]) / epsilon - (m as f64).ln()));
        }
        for j in 0..m {
            g[j] = least(&mut (0..n).map(|i| (f[i] - direct[[i, j]]) / epsilon - (n as f64).ln()));
        }
    }
    let plan = |i: usize, j: usize| ((f[i] + g[j] - direct[[i, j]]) / epsilon).exp() / (n * m) as f64;
    let want: f64 = direct.indexed_iter().map(|((i, j), c)| plan(i, j) * c).sum();
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let found = Sinkhorn::new(epsilon).solve(&cost, &uniform(n), &uniform(m)).unwrap();
    let got = found.report.transport_cost;
    assert!((got - want).abs() < 1e-4 * want, "{got} instead of {want}: {:?}", found.report);
    let matrix = Cost::matrix64(direct.view()).unwrap();
    let again =
        Sinkhorn::new(epsilon).solve(&matrix, &uniform(n), &uniform(m)).unwrap().report.transport_cost;
    assert!((again - want).abs() < 1e-4 * want, "{again} instead of {want} from the matrix");
}

/// The mean of equal points is that point, so that their distances are zero and not rounding errors, whatever
/// the number of points and their coordinates.
#[test]
fn equal_points_have_a_cost_of_zero() {
    for (n, point) in [(40, [0.1, -0.7]), (7, [1e30, 3e-20]), (333, [1.0 / 3.0, 1e5 / 7.0])] {
        let x = Array2::from_shape_fn((n, 2), |(_, k)| point[k]);
        let cost = Cost::squared_euclidean(x.view(), x.view()).unwrap();
        assert_eq!(cost.mean(), 0.0, "{n} points at {point:?}");
        let refused = Sinkhorn::of_mean_cost(0.05).solve(&cost, &uniform(n), &uniform(n)).err().unwrap();
        assert!(refused.to_string().contains("zero mean cost"), "{refused}");
        let given = Sinkhorn::new(1.0).solve(&cost, &uniform(n), &uniform(n)).unwrap();
        assert_eq!(given.report.transport_cost, 0.0);
    }
}
