//! Coordinates of two modalities that correlate under a plan, weighted by how much they do.

use chiasm_geometry::linalg::{Svd, thin_svd};
use ndarray::{Array2, Axis, Slice};

use crate::Result;
use crate::basis::Basis;

/// The ridge that is added to every variance, in units of their mean.
const RIDGE: f64 = 1.0;

/// Returns the weights `[r, k]` of the coordinates of both modalities, given the covariance `[r_a, r_b]` of
/// their coordinates up to a factor, with at most `limit` columns.
///
/// With W = diag(w + mean w)^(-1/2) for variances w and W_a C W_b = U S Vᵀ, the weights are W_a U S / s₁ and
/// W_b V S / s₁ (canonical ridge; Vinod 1976). The ridge of the mean variance keeps directions that hardly
/// vary from being magnified, as a plan is less certain than pairs.
pub(crate) fn correlated(
    bases: [&Basis; 2],
    covariance: &Array2<f64>,
    limit: usize,
) -> Result<[Array2<f64>; 2]> {
    let [a, b] = bases.map(|basis| {
        let mean = basis.variances.sum() / basis.rank() as f64;
        basis.variances.mapv(|w| (w + RIDGE * mean).sqrt().recip()).insert_axis(Axis(1))
    });
    let Svd { u, s, v } = thin_svd((covariance * &a * b.t()).view())?;
    let largest = s.first().map_or(1.0, |&s| if s > 0.0 { s } else { 1.0 });
    let k = s.len().min(limit);
    let shares = s.slice_axis(Axis(0), Slice::from(..k)).mapv(|s| s / largest);
    let leading = |side: &Array2<f64>| side.slice_axis(Axis(1), Slice::from(..k)).to_owned();
    Ok([leading(&u) * &a * &shares, leading(&v) * &b * &shares])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    fn basis(variances: Array1<f64>) -> Basis {
        let r = variances.len();
        Basis { mean: Array1::zeros(r), axes: Array2::eye(r), variances }
    }

    /// Both modalities share one coordinate, at different places, with half the covariance of the other one.
    #[test]
    fn coordinates_are_paired_and_weighted_by_their_correlation() {
        let (a, b) = (basis(array![3.0, 1.0]), basis(array![1.0, 1.0, 1.0]));
        let covariance = array![[0.0, 0.0, 1.0], [0.5, 0.0, 0.0]];
        let [x, y] = correlated([&a, &b], &covariance, 9).unwrap();
        // W_a = diag(1 / sqrt 5, 1 / sqrt 3), W_b = 1 / sqrt 2: singular values 1 / sqrt 10 and 0.5 / sqrt 6
        let second = 0.5 * (10.0_f64 / 6.0).sqrt();
        let expected = (array![[1.0 / 5.0_f64.sqrt(), 0.0], [0.0, second / 3.0_f64.sqrt()]], 0.5_f64.sqrt());
        assert!((x.mapv(f64::abs) - expected.0).iter().all(|gap| gap.abs() < 1e-12), "{x}");
        assert!(
            (y[[2, 0]].abs() - expected.1).abs() < 1e-12
                && (y[[0, 1]].abs() - expected.1 * second).abs() < 1e-12
        );
        assert!(x[[0, 0]] * y[[2, 0]] > 0.0 && x[[1, 1]] * y[[0, 1]] > 0.0);
        assert_eq!(correlated([&a, &b], &covariance, 1).unwrap()[1].dim(), (3, 1));
    }
}
