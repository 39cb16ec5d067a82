//! Transport distances between two clouds: exact W2, the Sinkhorn divergence, Gromov-Wasserstein.

use chiasm_transport::{Gromov, Limits, Sinkhorn, Space, exact, uniform};
use ndarray::{Array2, ArrayView2};
use std::time::Duration;

use crate::cloud::{centred, together};
use crate::pairwise::{Points, distances, distances_within};
use crate::real::Real;
use crate::{Error, Result};

/// Starts of the Gromov-Wasserstein search: the product plan and the match of mean distances, both ways
/// round.
const STARTS: usize = 3;

/// Exact W2 of `x [n, d]` and `y [m, d]`, equal weights within each: `sqrt(min <P, |x_i - y_j|²>)`; the
/// input's unit.
///
/// The cost matrix has `n m` entries in `f64`; the plan's duals certify the optimum to 1e-9 of it.
///
/// # Errors
/// When widths differ, a cloud is empty, a value is not finite, or `time` ends the search.
pub fn w2_exact<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, time: Duration) -> Result<f64> {
    let both = together(x, y, 1)?;
    let cost = distances(&Points::new(&both.x), &Points::new(&both.y)).mapv(|d| d * d);
    let (n, m) = cost.dim();
    let found = exact(cost.view(), &uniform(n), &uniform(m), &Limits::new(usize::MAX).time(time))?;
    if found.gap > 1e-9 * cost.mean().unwrap_or(0.0) {
        let got = format!("a gap of {:.1e} after {:.0} s", found.gap, found.seconds);
        return Err(Error::Setting { what: "exact transport", expected: "an optimum".into(), got });
    }
    Ok(both.unit * found.transport_cost.max(0.0).sqrt())
}

/// Sinkhorn divergence of `x [n, d]` and `y [m, d]`, squared Euclidean cost, `epsilon` as a share of the mean
/// cost.
///
/// `OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2`, each `<P, C> + ε KL(P | a bᵀ)` (Feydy et al. 2019, arXiv
/// 1810.08278); the input's unit squared. Single precision inside: about 1e-5 of the mean cost is its floor.
///
/// # Errors
/// When widths differ, a cloud is empty, a value is not finite, or all points are one.
pub fn sinkhorn_divergence<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>, epsilon: f64) -> Result<f64> {
    let both = together(x, y, 1)?;
    let narrow = |cloud: &Array2<T>| cloud.mapv(|v| v.into() as f32);
    let (x, y) = (narrow(&both.x), narrow(&both.y));
    let (a, b) = (uniform(x.nrows()), uniform(y.nrows()));
    let found = Sinkhorn::of_mean_cost(epsilon).divergence(x.view(), y.view(), &a, &b)?;
    Ok(both.unit * both.unit * found.value)
}

/// Gromov-Wasserstein distance of `x [n, a]` and `y [m, b]`: the root of `min_T Σ (Dx_ik - Dy_jl)² T_ij T_kl`
/// with each cloud's Euclidean distances in units of their mean (Mémoli 2011; Peyré et al. 2016). No unit,
/// widths may differ.
///
/// Conditional gradient from three starts: a stationary point, so an upper bound of the distance.
///
/// # Errors
/// When a cloud has fewer than two rows, a value is not finite, or all rows of a cloud are equal.
pub fn gromov_wasserstein<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<f64> {
    let space = |side: usize, cloud: ArrayView2<'_, T>| -> Result<(Space, Vec<f64>)> {
        let relative = relative_distances(side, cloud)?.mapv(|d| d as f32);
        Ok((Space::matrix(relative.view())?, uniform(cloud.nrows())))
    };
    let ((dx, a), (dy, b)) = (space(0, x)?, space(1, y)?);
    let found = Gromov::conditional_gradient().starts(STARTS).solve(&dx, &dy, &a, &b)?;
    Ok(found.value.max(0.0).sqrt())
}

/// Distances within a cloud in units of their mean over different rows.
pub(crate) fn relative_distances<T: Real>(side: usize, x: ArrayView2<'_, T>) -> Result<Array2<f64>> {
    let all = distances_within(&centred(side, x, 2)?);
    let n = all.nrows() as f64;
    let mean = all.sum() / (n * (n - 1.0));
    if mean > 0.0 { Ok(all / mean) } else { Err(Error::NoSpread(crate::cloud::NAMES[side])) }
}
