//! The Gaussian map: its defining property, its inverse and its distance.

use chiasm_transport::{Error, gaussian_map};
use ndarray::{Array2, Axis};

fn cloud(n: usize, d: usize, seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, d), |(i, k)| {
        let h = ((i * 7919 + k * 104_729 + seed * 1_299_709) % 10_007) as f32 / 10_007.0;
        h + 0.5 * ((i * (k + 2) + seed) as f32).sin()
    })
}

fn covariance(z: &Array2<f64>) -> Array2<f64> {
    let centred = z - &z.mean_axis(Axis(0)).unwrap();
    centred.t().dot(&centred) / z.nrows() as f64
}

/// Tolerance of double precision through two eigendecompositions of well-conditioned matrices.
const CLOSE: f64 = 1e-10;

#[test]
fn the_map_transports_mean_and_covariance_and_its_inverse_undoes_it() {
    let (x, y) = (cloud(300, 4, 1), cloud(200, 4, 2) * 1.7);
    let map = gaussian_map(x.view(), y.view(), 0.0).unwrap();
    let (x, y) = (x.mapv(f64::from), y.mapv(f64::from));
    let moved = (&x - &map.source_mean).dot(&map.matrix) + &map.target_mean;
    assert!((covariance(&moved) - covariance(&y)).iter().all(|d| d.abs() < CLOSE));
    assert!((moved.mean_axis(Axis(0)).unwrap() - &map.target_mean).iter().all(|d| d.abs() < CLOSE));
    let back = (&moved - &map.target_mean).dot(&map.inverse) + &map.source_mean;
    assert!((back - &x).iter().all(|d| d.abs() < CLOSE));
    // For an affine map the squared distance is the mean squared displacement.
    let displacement = (&moved - &x).mapv(|d| d * d).sum() / x.nrows() as f64;
    assert!((displacement - map.distance_squared).abs() < CLOSE);
}

#[test]
fn the_distance_to_itself_is_zero_and_to_a_shifted_copy_the_shift() {
    let x = cloud(100, 3, 5);
    assert!(gaussian_map(x.view(), x.view(), 0.0).unwrap().distance_squared < 1e-12);
    let shifted = &x + 2.0;
    let map = gaussian_map(x.view(), shifted.view(), 0.0).unwrap();
    assert!((map.distance_squared - 12.0).abs() < 1e-5); // the shift is rounded to single precision
}

#[test]
fn too_few_points_are_an_error_that_recommends_shrinkage() {
    let (x, y) = (cloud(3, 8, 1), cloud(50, 8, 2));
    let error = gaussian_map(x.view(), y.view(), 0.0).unwrap_err();
    assert!(matches!(error, Error::Breakdown { .. }) && error.to_string().contains("shrinkage"), "{error}");
    assert!(gaussian_map(x.view(), y.view(), 0.1).unwrap().matrix.iter().all(|v| v.is_finite()));
    assert!(matches!(gaussian_map(x.view(), cloud(5, 3, 1).view(), 0.1), Err(Error::Shape { .. })));
}
