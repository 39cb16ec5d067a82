//! The update of a scaling under each kind of marginal constraint: equality, a penalty, or an upper bound.
//!
//! In the log domain, with `l = ln sum exp(...)`, every update is `potential = min(cap, -tau l)`: tau = 1 for
//! equality, `tau = rho / (rho + epsilon)` for a Kullback-Leibler penalty rho (Chizat et al. 2018, arXiv
//! 1607.05816), and a finite cap for an upper bound (the dual variable of an inequality has a sign).

/// Largest |ln u| before absorption. Entries below e^-80, which are set to zero, are then less than 1e-21 of
/// their row.
const GUARD: f32 = 30.0;
/// The power of two to which the largest weight is lifted when rows are added to the column sums. Without it,
/// products of the smallest entries would be subnormal numbers, on which processors of Intel take far longer.
const LIFTED: i32 = 40;

/// The constraint on the marginal of one side, in units of epsilon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MarginalRule {
    pub tau: f64,
    pub cap: f64,
    /// What must be added to the absorbed potentials.
    pub offset: f64,
}

impl MarginalRule {
    /// The marginal equals the weights.
    pub(super) fn balanced() -> Self {
        Self { tau: 1.0, cap: f64::INFINITY, offset: 0.0 }
    }

    /// A Kullback-Leibler penalty of weight `rho`.
    pub(super) fn soft(rho: f64, epsilon: f64, offset: f64) -> Self {
        Self { tau: if rho.is_finite() { rho / (rho + epsilon) } else { 1.0 }, cap: f64::INFINITY, offset }
    }

    /// The marginal is at most the weights, and the potential at most `cap`.
    pub(super) fn at_most(cap: f64) -> Self {
        Self { tau: 1.0, cap, offset: 0.0 }
    }

    /// Returns the potential for a log-sum, or `old` if the sum is empty.
    pub(super) fn potential(&self, log_sum: f64, old: f64) -> f64 {
        let new = ((self.tau - 1.0) * self.offset - self.tau * log_sum).min(self.cap);
        if new.is_finite() { new } else { old }
    }

    /// Returns `epsilon / rho` of a penalty, which is zero for an equality.
    pub(super) fn softness(&self) -> f64 {
        1.0 / self.tau - 1.0
    }

    /// Returns the share of its weight that a point with this potential should have: `exp(-f / rho)` for a
    /// penalty, one for an equality.
    pub(super) fn demand(&self, absorbed: f64, scaling: f32) -> f64 {
        if self.tau == 1.0 {
            1.0
        } else {
            (-self.softness() * (absorbed + self.offset + f64::from(scaling).ln())).exp()
        }
    }

    /// Returns the factor `tau / demand` of a row in a Hessian-vector product.
    pub(super) fn coupling(&self, absorbed: f64, scaling: f32) -> f64 {
        self.tau / self.demand(absorbed, scaling)
    }

    /// Whether the marginal must equal the weights.
    fn is_equality(&self) -> bool {
        self.tau == 1.0 && self.cap == f64::INFINITY
    }

    /// Updates the scalings from sums `s` over the absorbed kernel. Returns the error `sum w |new s - 1|` of
    /// equality constraints (0 for the others, which the new scaling satisfies) and the largest |ln scaling|.
    pub(super) fn update(
        &self,
        weights: &[f64],
        sums: &[f64],
        absorbed: &[f64],
        scaling: &mut [f32],
    ) -> (f64, f32) {
        let mut error = 0.0;
        let (mut low, mut high) = (1.0_f32, 1.0_f32);
        for (((weight, &sum), absorbed), scaling) in weights.iter().zip(sums).zip(absorbed).zip(scaling) {
            if self.is_equality() {
                *scaling = (1.0 / sum) as f32;
                error += weight * (f64::from(*scaling) * sum - 1.0).abs();
            } else {
                *scaling = self.log_scaling(sum, *absorbed).exp() as f32;
            }
            low = low.min(*scaling);
            high = high.max(*scaling);
        }
        let spread = if low > 0.0 { high.ln().max(-low.ln()) } else { f32::INFINITY };
        (error, if error.is_finite() { spread } else { f32::INFINITY })
    }

    /// Returns the logarithm of the scaling that satisfies the constraint, given a sum over the absorbed
    /// kernel.
    fn log_scaling(&self, sum: f64, absorbed: f64) -> f64 {
        ((self.tau - 1.0) * (absorbed + self.offset) - self.tau * sum.ln()).min(self.cap - absorbed)
    }

    /// Returns the error of the current scalings: the L1 distance of the marginal `w scaling s` from that of
    /// the updated scalings.
    pub(super) fn residual(&self, weights: &[f64], sums: &[f64], absorbed: &[f64], scaling: &[f32]) -> f64 {
        let points = weights.iter().zip(sums).zip(absorbed).zip(scaling);
        if self.is_equality() {
            return points.map(|(((w, sum), _), &v)| w * (f64::from(v) * sum - 1.0).abs()).sum();
        }
        points
            .filter(|(((w, _), _), _)| **w > 0.0)
            .map(|(((w, sum), absorbed), &v)| {
                w * sum * (f64::from(v) - self.log_scaling(*sum, *absorbed).exp()).abs()
            })
            .sum()
    }
}

/// Returns the potentials that combine absorbed potentials and scalings.
pub(super) fn potentials(absorbed: &[f64], scaling: &[f32]) -> Vec<f64> {
    absorbed.iter().zip(scaling).map(|(absorbed, &scaling)| absorbed + f64::from(scaling).ln()).collect()
}

/// Returns whether scalings of this spread must be absorbed.
pub(super) fn out_of_range(spread: f32) -> bool {
    !spread.is_finite() || spread > GUARD
}

/// Returns the power of two that lifts the largest weight to about 2^[`LIFTED`].
pub(super) fn lift(weights: &[f64]) -> f64 {
    let largest = weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    2.0_f64.powi((LIFTED - largest.log2().floor() as i32).min(f64::MAX_EXP - 1))
}
