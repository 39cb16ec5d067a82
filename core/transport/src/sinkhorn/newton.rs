//! Newton steps on the semi-dual, for problems on which plain Sinkhorn iterations have become slow.
//!
//! If the row marginals are exact, the gradient with respect to the target potential is `b - c`, where c are
//! the column sums of the plan, and the Hessian is `-(diag(c) - P^T diag(1/a) P)` (Brauer et al. 2017, arXiv
//! 1710.06635). A Hessian-vector product reads the kernel once, as an iteration does. Conjugate gradients
//! preconditioned by `diag(c)`, whose first step is a Sinkhorn step, therefore cost one iteration per step,
//! and a few slow modes need few steps. A step that does not lower the error is undone and followed by plain
//! iterations.

use super::engine::ScalingEngine;

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
        t: &[f64],
        plain: Vec<f32>,
        error: f64,
        tolerance: f64,
    ) -> (Vec<f32>, usize) {
        let columns: Vec<f64> =
            engine.b.iter().zip(&engine.v).zip(t).map(|((b, &v), t)| b * f64::from(v) * t).collect();
        let forcing = (0.3 * tolerance / error).clamp(0.02, 0.3);
        let (direction, products) = solve(engine, &columns, forcing);
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

/// Solves `(diag(c) - P^T diag(1/a) P) x = b - c` by preconditioned conjugate gradients, until the L1
/// residual has fallen by the factor `forcing`. Returns x and the number of products.
fn solve(engine: &mut ScalingEngine<'_>, columns: &[f64], forcing: f64) -> (Vec<f64>, usize) {
    let m = columns.len();
    let inner = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let size = |x: &[f64]| -> f64 { x.iter().map(|x| x.abs()).sum() };
    let precondition = |r: &[f64]| -> Vec<f64> {
        r.iter().zip(columns).map(|(r, &c)| if c > 0.0 { r / c } else { 0.0 }).collect()
    };
    let mut x = vec![0.0; m];
    let mut r: Vec<f64> = engine.b.iter().zip(columns).map(|(b, c)| b - c).collect();
    let goal = forcing * size(&r);
    let mut z = precondition(&r);
    let mut p = z.clone();
    let mut residual = inner(&r, &z);
    for products in 1..=PRODUCTS {
        let coupled = engine.couple(&p);
        let q: Vec<f64> = (0..m).map(|j| columns[j] * p[j] - coupled[j]).collect();
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
