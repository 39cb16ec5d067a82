//! What a marginal asks of its scaling: equality, a soft penalty, or an upper bound.
//!
//! In the log domain with `l = ln sum exp(...)` each rule is `potential = min(cap, -tau l)`: tau = 1 for equality,
//! `tau = rho / (rho + epsilon)` for a Kullback-Leibler penalty rho (Chizat et al. 2018, arXiv 1607.05816), and a
//! finite cap for an upper bound (the dual variable of an inequality has a sign).

/// One side's rule, in units of epsilon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    pub tau: f64,
    pub cap: f64,
}

impl Rule {
    pub(super) fn balanced() -> Self {
        Self { tau: 1.0, cap: f64::INFINITY }
    }

    /// A Kullback-Leibler penalty of weight `rho`.
    pub(super) fn soft(rho: f64, epsilon: f64) -> Self {
        Self { tau: if rho.is_finite() { rho / (rho + epsilon) } else { 1.0 }, cap: f64::INFINITY }
    }

    /// At most the weight; the potential stays under `cap`.
    pub(super) fn at_most(cap: f64) -> Self {
        Self { tau: 1.0, cap }
    }

    /// The potential for a log-sum; `old` where nothing is known (an empty sum).
    pub(super) fn potential(&self, log_sum: f64, old: f64) -> f64 {
        let new = (-self.tau * log_sum).min(self.cap);
        if new.is_finite() { new } else { old }
    }

    fn is_plain(&self) -> bool {
        self.tau == 1.0 && self.cap == f64::INFINITY
    }

    /// New scalings from sums over the absorbed kernel; returns the L1 distance `sum w |new s - 1|` of what equality
    /// wants (for other rules 0, the new scaling being what they want), and the largest |ln scaling|.
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
            if self.is_plain() {
                *scaling = (1.0 / sum) as f32;
                error += weight * (f64::from(*scaling) * sum - 1.0).abs();
            } else {
                *scaling = self.wanted(sum, *absorbed).exp() as f32;
            }
            low = low.min(*scaling);
            high = high.max(*scaling);
        }
        let spread = if low > 0.0 { high.ln().max(-low.ln()) } else { f32::INFINITY };
        (error, if error.is_finite() { spread } else { f32::INFINITY })
    }

    /// The logarithm of the scaling that a sum over the absorbed kernel asks for.
    fn wanted(&self, sum: f64, absorbed: f64) -> f64 {
        ((self.tau - 1.0) * absorbed - self.tau * sum.ln()).min(self.cap - absorbed)
    }

    /// The residual of scalings as they are: `sum w |1 - old / wanted|`.
    pub(super) fn residual(&self, weights: &[f64], sums: &[f64], absorbed: &[f64], scaling: &[f32]) -> f64 {
        let items = weights.iter().zip(sums).zip(absorbed).zip(scaling);
        if self.is_plain() {
            return items.map(|(((w, sum), _), &v)| w * (f64::from(v) * sum - 1.0).abs()).sum();
        }
        items
            .filter(|(((w, _), _), _)| **w > 0.0)
            .map(|(((w, sum), absorbed), &v)| {
                w * ((f64::from(v).ln() - self.wanted(*sum, *absorbed)).exp() - 1.0).abs()
            })
            .sum()
    }
}
