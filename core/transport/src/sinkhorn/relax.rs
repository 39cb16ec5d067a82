//! Over-relaxation `u <- u^(1-w) (a / K v)^w` with a rate estimate and a safeguard.
//!
//! Near the solution plain Sinkhorn contracts by a factor eta a step and behaves like Gauss-Seidel, so the theory of
//! successive over-relaxation holds (Thibault et al. 2017, arXiv 1711.01851; Lehmann et al. 2021): the best weight is
//! `w = 2 / (1 + sqrt(1 - eta))`, and a contraction `l` seen under weight w gives `eta = (l + w - 1)^2 / (w^2 l)`.
//! The weight starts at one, follows the rate that the errors show, and falls back when an error grows.

/// Errors of this many iterations make one estimate of the rate.
const WINDOW: usize = 8;

/// Chooses the weight of each iteration.
#[derive(Debug)]
pub(super) struct Relaxation {
    weight: f64,
    ceiling: f64,
    errors: Vec<f64>,
    best: f64,
    adaptive: bool,
}

impl Relaxation {
    /// A weight that follows the errors, or a fixed one.
    pub(super) fn new(fixed: Option<f64>) -> Self {
        Self {
            weight: fixed.unwrap_or(1.0),
            ceiling: 1.97,
            errors: Vec::new(),
            best: f64::INFINITY,
            adaptive: fixed.is_none(),
        }
    }

    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    /// Takes in the error of the last iteration.
    pub(super) fn observe(&mut self, error: f64) {
        if !self.adaptive || !error.is_finite() {
            return;
        }
        if error > 3.0 * self.best && self.weight > 1.0 {
            self.retreat();
            return;
        }
        self.best = self.best.min(error);
        self.errors.push(error);
        let n = self.errors.len();
        if n <= WINDOW || error <= 0.0 {
            return;
        }
        let rate = (error / self.errors[n - 1 - WINDOW]).powf(1.0 / WINDOW as f64);
        if self.weight == 1.0 {
            // The rate of plain steps rises towards its limit: wait until it has nearly settled.
            let before = (self.errors[n - 2] / self.errors[0.max(n - 1 - WINDOW)]).powf(1.0 / (WINDOW - 1) as f64);
            let settled = (rate - before).abs() < 0.1 * (1.0 - rate).max(0.0);
            if rate < 1.0 && (settled || n > 4 * WINDOW) {
                self.set(rate);
            }
        } else if rate > self.weight - 1.0 + 0.02 && rate < 1.0 {
            let w = self.weight;
            self.set((rate + w - 1.0).powi(2) / (w * w * rate));
        }
    }

    /// The best weight for plain steps that contract by `eta`, if it is above today's.
    fn set(&mut self, eta: f64) {
        let weight = 2.0 / (1.0 + (1.0 - eta.clamp(0.0, 1.0)).sqrt());
        let weight = weight.min(self.ceiling);
        if weight > self.weight + 1e-3 {
            self.weight = weight;
            self.errors.clear();
        }
    }

    /// Back to plain steps, with a lower ceiling from now on.
    fn retreat(&mut self) {
        self.ceiling = 1.0 + 0.7 * (self.weight - 1.0);
        self.weight = 1.0;
        self.errors.clear();
        self.best = f64::INFINITY;
    }
}
