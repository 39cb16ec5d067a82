//! Newton steps on the semi-dual, for problems on which plain Sinkhorn iterations have become slow.
//!
//! If the row marginals are exact, the gradient with respect to the target potential is `b - c`, where c are
//! the column sums of the plan, and the Hessian is `-(diag(c) - P^T diag(1/a) P)` (Brauer et al. 2017, arXiv
//! 1710.06635). With penalties `rho` on the marginals, the weights are replaced by those that the potentials
//! ask for, `a~_i = a_i exp(-f_i / rho_x)` and `b~_j = b_j exp(-g_j / rho_y)` (the gradient of the dual of
//! Chizat et al. 2018): the gradient is `b~ - c`, and the Hessian
//! `-(diag(c + epsilon / rho_y b~) - tau_x P^T diag(1/a~) P)` with `tau_x = rho_x / (rho_x + epsilon)`.
//!
//! A Hessian-vector product reads the kernel once, as an iteration does. Conjugate gradients preconditioned
//! by the diagonal, whose first step is a Sinkhorn step, therefore cost one iteration per step, and a few
//! slow modes need few steps. A step that does not lower the error is undone and followed by plain
//! iterations.

use super::engine::ScalingEngine;
use super::rule::MarginalRule;

/// Maximum number of Hessian-vector products in one Newton step.
const PRODUCTS: usize = 60;
/// Plain iterations over which the convergence rate is measured.
const WINDOW: usize = 4;
/// Largest change of a potential in one step, in units of epsilon.
const MAX_CHANGE: f64 = 2.0;

/// Decides when to take Newton steps, and undoes those that fail.
#[derive(Default)]
pub(super) struct NewtonSteps {
    errors: Vec<f64>,
    wait: usize,
    failures: u32,
    /// The error before the last Newton step, and the `v` of a plain iteration.
    trial: Option<(f64, Vec<f32>)>,
}

impl NewtonSteps {
    /// Evaluates the last Newton step, if there was one. Returns the `v` to go back to if the error has not
    /// fallen.
    pub(super) fn evaluate(&mut self, error: f64) -> Option<Vec<f32>> {
        let (before, plain) = self.trial.take()?;
        if error < 0.8 * before {
            self.failures = 0;
            return None;
        }
        self.failures += 1;
        self.wait = WINDOW << self.failures.min(6);
        self.errors.clear();
        Some(plain)
    }

    /// Returns whether plain iterations are so slow that a Newton step pays off.
    pub(super) fn is_due(&mut self, error: f64) -> bool {
        self.errors.push(error);
        self.wait = self.wait.saturating_sub(1);
        let n = self.errors.len();
        n > WINDOW && self.wait == 0 && error < 0.5 && error > 0.25 * self.errors[n - 1 - WINDOW]
    }

    /// Computes a Newton step from the column sums `t` of the last sweep. Returns the new `v` and the number
    /// of products. `plain` is the `v` of a plain iteration.
    pub(super) fn step(
        &mut self,
        engine: &mut ScalingEngine<'_>,
        (t, plain): (&[f64], Vec<f32>),
        (error, tolerance): (f64, f64),
        rules: [&MarginalRule; 2],
    ) -> (Vec<f32>, usize) {
        let system = NewtonSystem::new(engine, t, rules);
        let forcing = (0.3 * tolerance / error).clamp(0.02, 0.3);
        let (direction, products) = system.solve(engine, forcing);
        let top = direction.iter().fold(0.0_f64, |top, d| top.max(d.abs()));
        let length = if top > MAX_CHANGE { MAX_CHANGE / top } else { 1.0 };
        let v = engine
            .v
            .iter()
            .zip(&direction)
            .zip(&engine.b)
            .zip(&plain)
            .map(
                |(((&v, d), &b), &plain)| {
                    if b > 0.0 { (f64::from(v) * (length * d).exp()) as f32 } else { plain }
                },
            )
            .collect();
        self.trial = Some((error, plain));
        (v, products)
    }
}

/// The linear system of a Newton step, `(diag(d) - tau P^T diag(1/a~) P) x = r`.
struct NewtonSystem<'r> {
    diagonal: Vec<f64>,
    residual: Vec<f64>,
    source: &'r MarginalRule,
}

impl<'r> NewtonSystem<'r> {
    /// Builds it from the column sums `t` of the last sweep.
    fn new(engine: &ScalingEngine<'_>, t: &[f64], [source, target]: [&'r MarginalRule; 2]) -> Self {
        let (mut diagonal, mut residual) = (Vec::with_capacity(t.len()), Vec::with_capacity(t.len()));
        for (j, t) in t.iter().enumerate() {
            let column = engine.b[j] * f64::from(engine.v[j]) * t;
            let wanted = engine.b[j] * target.demand(engine.psi[j], engine.v[j]);
            diagonal.push(column + target.softness() * wanted);
            residual.push(wanted - column);
        }
        Self { diagonal, residual, source }
    }

    /// Solves it by preconditioned conjugate gradients, until the L1 residual has fallen by the factor
    /// `forcing`. Returns x and the number of products.
    fn solve(self, engine: &mut ScalingEngine<'_>, forcing: f64) -> (Vec<f64>, usize) {
        let (diagonal, mut r) = (self.diagonal, self.residual);
        let m = diagonal.len();
        let inner = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
        let size = |x: &[f64]| -> f64 { x.iter().map(|x| x.abs()).sum() };
        let precondition = |r: &[f64]| -> Vec<f64> {
            r.iter().zip(&diagonal).map(|(r, &c)| if c > 0.0 { r / c } else { 0.0 }).collect()
        };
        let mut x = vec![0.0; m];
        let goal = forcing * size(&r);
        let mut z = precondition(&r);
        let mut p = z.clone();
        let mut residual = inner(&r, &z);
        for products in 1..=PRODUCTS {
            let coupled = engine.couple(&p, self.source);
            let q: Vec<f64> = (0..m).map(|j| diagonal[j] * p[j] - coupled[j]).collect();
            let curvature = inner(&p, &q);
            if !(curvature > 0.0 && residual > 0.0) {
                return (x, products);
            }
            let step = residual / curvature;
            for j in 0..m {
                x[j] += step * p[j];
                r[j] -= step * q[j];
            }
            if size(&r) <= goal {
                return (x, products);
            }
            z = precondition(&r);
            let next = inner(&r, &z);
            for j in 0..m {
                p[j] = z[j] + next / residual * p[j];
            }
            residual = next;
        }
        (x, PRODUCTS)
    }
}
