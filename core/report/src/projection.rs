//! Principal component analysis of vectors, for drawing them in two dimensions.

use chiasm_geometry::linalg::{Svd, thin_svd};
use ndarray::{Array2, ArrayView2, Axis};

/// Vectors on their two leading principal axes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Projection {
    /// The coordinates of each vector, `[rows, 2]`; zero on an axis that the vectors do not span.
    pub points: Array2<f64>,
    /// The share of the variance on each of the two axes; zero if the vectors do not vary.
    pub shares: [f64; 2],
}

/// Projects vectors `[rows, width]` on their two leading principal axes: the centred rows times the leading
/// right singular vectors (Pearson 1901). The entry of largest size of each axis is positive.
///
/// # Errors
/// If a value is not finite or the decomposition does not converge.
///
/// ```
/// let rows = ndarray::array![[1.0_f32, 1.0], [2.0, 2.0], [3.0, 3.0]];
/// let found = chiasm_report::principal_components(rows.view())?;
/// assert!((found.points[[2, 0]] - 2.0_f64.sqrt()).abs() < 1e-12);
/// assert_eq!(found.shares[1], 0.0);
/// # Ok::<(), chiasm_geometry::Error>(())
/// ```
pub fn principal_components(rows: ArrayView2<'_, f32>) -> Result<Projection, chiasm_geometry::Error> {
    let mut points = Array2::zeros((rows.nrows(), 2));
    let centred = rows.mapv(f64::from);
    let mean = centred.mean_axis(Axis(0)).filter(|mean| !mean.is_empty());
    let Some(mean) = mean else { return Ok(Projection { points, shares: [0.0; 2] }) };
    let centred = centred - &mean;
    let Svd { s: values, v: axes, .. } = thin_svd(centred.view())?;
    // Rounding leaves a little variance on axes that the vectors do not span.
    let floor = values.first().copied().unwrap_or_default() * f64::EPSILON * centred.len() as f64;
    let total: f64 = values.iter().map(|value| value * value).sum();
    let mut shares = [0.0; 2];
    for at in 0..values.len().min(2) {
        if values[at] <= floor {
            continue;
        }
        let axis = axes.column(at);
        let largest = axis.iter().fold(0.0_f64, |most, v| if v.abs() > most.abs() { *v } else { most });
        points.column_mut(at).assign(&(centred.dot(&axis) * largest.signum()));
        shares[at] = values[at] * values[at] / total;
    }
    Ok(Projection { points, shares })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// NumPy in double precision: `c = x - x.mean(0); u, s, vt = np.linalg.svd(c); c @ vt[:2].T`, with the
    /// sign of the entry of largest size of each row of `vt`; the shares are `s**2 / (s**2).sum()`.
    #[test]
    fn points_and_shares_are_those_of_numpy() {
        let rows = array![[2.0_f32, 0.5, 1.0], [0.0, 1.5, -1.0], [1.0, -2.0, 0.25], [3.0, 1.0, 2.0]];
        let expected = array![
            [0.6890822752306707, 0.16869356134062408],
            [-1.9956851435079621, 1.507023728412159],
            [-0.8470114083100633, -2.1662648007356657],
            [2.1536142765873545, 0.4905475109828827],
        ];
        let got = principal_components(rows.view()).unwrap();
        let apart = (&got.points - &expected).iter().fold(0.0_f64, |most, d| most.max(d.abs()));
        assert!(apart < 1e-12, "{:?} (double precision)", got.points);
        for (got, expected) in got.shares.iter().zip([0.575652508285756, 0.4242958362205914]) {
            assert!((got - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn vectors_that_do_not_vary_are_at_the_origin() {
        for rows in [Array2::from_elem((3, 4), 2.5_f32), Array2::zeros((0, 4)), Array2::zeros((2, 0))] {
            let got = principal_components(rows.view()).unwrap();
            assert!(got.points.iter().all(|v| *v == 0.0) && got.shares == [0.0; 2], "{rows:?}: {got:?}");
        }
    }
}
