//! Exact partial transport, as balanced transport with one more point on each side.
//!
//! Weights above the mass are lowered to it. The mass that stays goes to a dummy point at no cost. The dummy
//! of the source has the weight `sum b - mass` and that of the target `sum a - mass`. Moving mass from dummy
//! to dummy is forbidden (Caffarelli and McCann 2010; Chapel, Alaya and Gasso 2020, arXiv 2002.08276).

use ndarray::{Array2, ArrayView2, s};

use super::{exact, plan::ExactPlan};
use crate::{Error, Result, SolverLimits};

/// Solves `min <P, C>` subject to `P 1 <= a`, `P^T 1 <= b`, `sum P = mass`, `P >= 0`, for `C[n, m]`.
///
/// The potentials are those of the points; those of the dummy points are left out, so `source_potential` and
/// `target_potential` prove the cost only together with the multiplier of the mass. `gap` is that of the
/// whole problem.
///
/// ```
/// use chiasm_transport::{SolverLimits, exact::exact_partial};
/// let cost = ndarray::array![[1.0, 3.0], [3.0, 2.0]];
/// let found = exact_partial(cost.view(), &[0.5, 0.5], &[0.5, 0.5], 0.6, &SolverLimits::new(1000))?;
/// assert!((found.transport_cost - (0.5 * 1.0 + 0.1 * 2.0)).abs() < 1e-12);
/// assert!((found.plan().sum() - 0.6).abs() < 1e-12);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
///
/// An infinite cost forbids an entry.
///
/// # Errors
/// The errors of [`exact`], and when the mass is not positive or above the smaller sum of weights.
pub fn exact_partial(
    cost: ArrayView2<'_, f64>,
    a: &[f64],
    b: &[f64],
    mass: f64,
    limits: &SolverLimits,
) -> Result<ExactPlan> {
    let (n, m) = cost.dim();
    crate::cost::finite("cost matrix", cost, |c: f64| c > f64::NEG_INFINITY)?;
    let (source, target) = (crate::mass("source weights", a, n)?, crate::mass("target weights", b, m)?);
    if !(mass > 0.0 && mass <= source.min(target) * (1.0 + 1e-9)) {
        let expected = "a positive number, at most the smaller sum of weights";
        return Err(Error::Setting { what: "mass", expected, got: mass });
    }
    // A constant changes no plan of given mass; it makes all costs positive.
    let low = cost.iter().fold(f64::INFINITY, |low, c| low.min(*c));
    let mut whole = Array2::zeros((n + 1, m + 1));
    whole.slice_mut(s![..n, ..m]).assign(&cost.mapv(|c| c - low));
    whole[[n, m]] = f64::INFINITY;
    // No point moves more than the mass. Weights far above it would take its digits in the dummy's weight.
    let most = |weights: &[f64]| weights.iter().map(|w| w.min(mass)).collect::<Vec<f64>>();
    let (mut a, mut b) = (most(a), most(b));
    let left = |weights: &[f64]| (weights.iter().sum::<f64>() - mass).max(0.0);
    let (source_left, target_left) = (left(&a), left(&b));
    a.push(target_left);
    b.push(source_left);
    let mut found = exact(whole.view(), &a, &b, limits)?;
    found.entries.retain(|entry| entry.source < n && entry.target < m);
    found.transport_cost =
        found.entries.iter().map(|entry| entry.mass * cost[[entry.source, entry.target]]).sum();
    found.source_potential = found.source_potential.slice(s![..n]).mapv(|f| f + low);
    found.target_potential = found.target_potential.slice(s![..m]).to_owned();
    found.shape = (n, m);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any plan of the mass is optimal, but it must move the mass.
    #[test]
    fn equal_costs_move_the_mass_that_was_asked_for() {
        for cost in [0.0, 3.0] {
            let costs = Array2::from_elem((3, 4), cost);
            let (a, b) = ([1.0 / 3.0; 3], [0.25; 4]);
            let found = exact_partial(costs.view(), &a, &b, 0.6, &SolverLimits::new(1000)).unwrap();
            assert!((found.plan().sum() - 0.6).abs() < 1e-12, "{}", found.plan());
            assert!((found.transport_cost - 0.6 * cost).abs() < 1e-12);
        }
    }
}
