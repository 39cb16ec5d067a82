//! Transport distances between two clouds: exact W2, the Sinkhorn divergence, Gromov-Wasserstein.
//!
//! ```
//! use chiasm_geometry::wasserstein::{gromov_wasserstein, w2_exact};
//! use std::time::Duration;
//! let x = ndarray::array![[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]];
//! let y = &x + 3.0;
//! assert!((w2_exact(x.view(), y.view(), Duration::from_secs(10))? - 18.0_f64.sqrt()).abs() < 1e-9);
//! assert!(gromov_wasserstein(x.view(), y.view())? < 1e-3);
//! # Ok::<(), chiasm_geometry::Error>(())
//! ```

use chiasm_transport::{GromovWasserstein, Sinkhorn, SolverLimits, Space, exact, uniform};
use ndarray::{Array2, ArrayView2};
use std::time::Duration;

use crate::cloud::{centred, cloud_stats, common_frame};
use crate::pairwise::{PointSet, distances_within, squares};
use crate::real::Real;
use crate::{Error, Result};

/// Starts of the Gromov-Wasserstein search: the product plan, and matching by mean distances in both orders.
const STARTS: usize = 3;

/// Returns the exact W2 distance `sqrt(min <P, |x_i - y_j|²>)` of `x [n, d]` and `y [m, d]` with equal
/// weights, in the unit of the input.
///
/// Allocates a cost matrix of `n m` values in `f64`. The square of the distance is proven by a duality gap
/// below 1e-9 of it or, for clouds that nearly coincide, below 1e-13 of the mean squared distance.
///
/// # Errors
/// When widths differ, a cloud is empty, a value is not finite, or the optimum is not reached within `time`.
pub fn w2_exact<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, time: Duration) -> Result<f64> {
    let both = common_frame(x.view(), y.view(), 1)?;
    let cost = squares(&PointSet::new(&both.x), &PointSet::new(&both.y));
    let (n, m) = cost.dim();
    let found = exact(cost.view(), &uniform(n), &uniform(m), &SolverLimits::new(usize::MAX).time(time))?;
    if found.gap > (1e-9 * found.transport_cost).max(1e-13 * cost.mean().unwrap_or(0.0)) {
        let got = format!("a gap of {:.1e} after {:.0} s", found.gap, found.seconds);
        let expected = "an optimal plan within the time limit".into();
        return Err(Error::Setting { what: "exact transport", expected, got });
    }
    Ok(both.unit * found.transport_cost.max(0.0).sqrt())
}

/// Returns the Sinkhorn divergence of `x [n, d]` and `y [m, d]` for squared Euclidean costs, in the squared
/// unit of the input. `epsilon` is a share of the mean cost.
///
/// `OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2` with `OT = <P, C> + ε KL(P | a bᵀ)` (Feydy et al. 2019, arXiv
/// 1810.08278). The kernel is in single precision, which limits the accuracy to about 1e-5 of the mean cost.
///
/// # Errors
/// When widths differ, a cloud is empty, a value is not finite, or all points are equal.
pub fn sinkhorn_divergence<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, epsilon: f64) -> Result<f64> {
    cloud_stats(0, x, 1)?;
    cloud_stats(1, y, 1)?;
    let (a, b) = (uniform(x.nrows()), uniform(y.nrows()));
    Ok(Sinkhorn::of_mean_cost(epsilon).divergence(x, y, &a, &b)?.value)
}

/// Returns the Gromov-Wasserstein distance of `x [n, a]` and `y [m, b]`, the root of
/// `min_T Σ (Dx_ik - Dy_jl)² T_ij T_kl` (Mémoli 2011; Peyré et al. 2016).
///
/// D are the Euclidean distances within each cloud in units of their mean. Widths may differ. Conditional
/// gradient from three starts finds a stationary point, so the result is an upper bound of the distance.
///
/// # Errors
/// When a cloud has fewer than two rows, a value is not finite, or all rows of a cloud are equal.
pub fn gromov_wasserstein<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    let space = |side: usize, cloud: ArrayView2<'_, T>| -> Result<(Space, Vec<f64>)> {
        let relative = relative_distances(side, cloud)?.mapv(|d| d as f32);
        Ok((Space::matrix(relative.view())?, uniform(cloud.nrows())))
    };
    let ((dx, a), (dy, b)) = (space(0, x)?, space(1, y)?);
    let found = GromovWasserstein::conditional_gradient().starts(STARTS).solve(&dx, &dy, &a, &b)?;
    Ok(found.value.max(0.0).sqrt())
}

/// Returns the distances within a cloud, in units of their mean over different rows.
pub(crate) fn relative_distances<T: Real>(side: usize, x: ArrayView2<'_, T>) -> Result<Array2<f64>> {
    let all = distances_within(&centred(side, x, 2)?);
    let n = all.nrows() as f64;
    let mean = all.sum() / (n * (n - 1.0));
    if mean > 0.0 { Ok(all / mean) } else { Err(Error::NoSpread(crate::cloud::NAMES[side])) }
}
