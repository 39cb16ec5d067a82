//! Entropic transport: `min <P, C> + epsilon KL(P | a b^T)` by Sinkhorn iterations, numerically stable for
//! small epsilon.
//!
//! The kernel is in single precision; potentials, row sums and everything reported are in double precision.
//! The kernel is stored if it fits into the memory limit, otherwise recomputed in each iteration. Potentials
//! follow the convention `P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)` (Peyré and Cuturi 2019, arXiv
//! 1803.00567, chapter 4). The reported error is the L1 distance of both marginals from the weights, divided
//! by the mass. Single precision limits it to about 1e-6. Where single precision is too coarse for the costs
//! at this epsilon, they are computed in double precision, if `n m` doubles fit into the memory limit.
//! [`CouplingReport::rounding`] bounds the relative error of the plan's entries: potentials of 1e4 epsilon
//! leave about three digits.

mod coarse;
mod coupling;
mod engine;
mod newton;
mod rule;
mod stall;
mod translation;

pub use coupling::{Coupling, CouplingReport};

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::tasks::tasks;
use crate::{Cost, Error, Result, SolverLimits, SolverProgress, StopReason};
use coupling::IterationOutcome;
use engine::{ScalingEngine, SweepResult};
use newton::NewtonSteps;
use rule::{MarginalRule, out_of_range};
use stall::StallDetector;

/// The constraints on the marginals of a plan.
///
/// ```
/// use chiasm_transport::{Cost, Marginals, Sinkhorn, uniform};
/// let x = ndarray::array![[0.0_f32], [1.0], [9.0]];
/// let cost = Cost::squared_euclidean(x.view(), x.view())?;
/// let partial = Sinkhorn::new(0.1).marginals(Marginals::Partial { mass: 0.5 });
/// let plan = partial.solve(&cost, &uniform(3), &uniform(3))?.into_plan();
/// assert!((plan.sum() - 0.5).abs() < 1e-4);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Marginals {
    /// `P 1 = a` and `P^T 1 = b`; the weights need equal sums.
    Balanced,
    /// Penalties `source KL(P 1 | a) + target KL(P^T 1 | b)` in units of the cost; infinity means equality.
    Unbalanced {
        /// Weight of the penalty on the source marginal.
        source: f64,
        /// Weight of the penalty on the target marginal.
        target: f64,
    },
    /// `P 1 <= a`, `P^T 1 <= b`, and a given total mass.
    Partial {
        /// The total mass of the plan.
        mass: f64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Epsilon {
    Absolute(f64),
    OfMeanCost(f64),
}

/// The Sinkhorn solver of entropic transport.
///
/// ```
/// use chiasm_transport::{Cost, Sinkhorn, StopReason, uniform};
/// let x = ndarray::array![[0.0_f32, 0.0], [1.0, 0.0], [0.0, 1.0]];
/// let cost = Cost::euclidean(x.view(), x.view())?;
/// let coupling = Sinkhorn::of_mean_cost(0.1).iterations(500).solve(&cost, &uniform(3), &uniform(3))?;
/// assert_eq!(coupling.report.stop, StopReason::Converged);
/// # Ok::<(), chiasm_transport::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sinkhorn {
    epsilon: Epsilon,
    tolerance: f64,
    limits: SolverLimits,
    accelerated: bool,
    marginals: Marginals,
    memory: usize,
    annealing: Option<f64>,
    start: Option<Vec<f64>>,
}

impl Sinkhorn {
    /// Uses the regularisation `epsilon`, in units of the cost. The defaults are balanced marginals, a
    /// tolerance of 1e-6, 10,000 iterations, one hour, and a stored kernel of up to 2 GiB.
    pub fn new(epsilon: f64) -> Self {
        Self {
            epsilon: Epsilon::Absolute(epsilon),
            tolerance: 1e-6,
            limits: SolverLimits::new(10_000),
            accelerated: true,
            marginals: Marginals::Balanced,
            memory: 2 << 30,
            annealing: None,
            start: None,
        }
    }

    /// Uses a share of the mean cost as regularisation, with the same defaults.
    pub fn of_mean_cost(share: f64) -> Self {
        Self { epsilon: Epsilon::OfMeanCost(share), ..Self::new(1.0) }
    }

    /// Sets the regularisation, in units of the cost.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = Epsilon::Absolute(epsilon);
        self
    }

    /// Sets the L1 marginal error, relative to the mass, at which to stop; 0 runs all iterations.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the maximum number of iterations.
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.limits.iterations = iterations;
        self
    }

    /// Sets the maximum wall time.
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// Calls `watcher` after each iteration; `Break` cancels the solve.
    pub fn watch(
        mut self,
        watcher: impl Fn(&SolverProgress) -> std::ops::ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.limits = self.limits.watch(watcher);
        self
    }

    /// Sets whether Newton steps may replace plain iterations when these converge slowly (not in partial
    /// problems; on by default).
    pub fn accelerated(mut self, accelerated: bool) -> Self {
        self.accelerated = accelerated;
        self
    }

    /// Sets the constraints on the marginals.
    pub fn marginals(mut self, marginals: Marginals) -> Self {
        self.marginals = marginals;
        self
    }

    /// Sets the memory limit of the stored kernel in bytes. A larger kernel is recomputed in each iteration.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Starts at a larger epsilon and multiplies it by `factor` in (0, 1) until the given epsilon is reached
    /// (epsilon scaling). By default this is done with the factor 0.25 if the mean cost is above 200 epsilon.
    pub fn annealing(mut self, factor: f64) -> Self {
        self.annealing = Some(factor);
        self
    }

    /// Starts at the target potential `g[m]`, in units of the cost, as from [`Coupling::target_potential`].
    pub fn start(mut self, target_potential: &[f64]) -> Self {
        self.start = Some(target_potential.to_vec());
        self
    }

    /// Solves the problem with the weights `a[n]` and `b[m]`.
    ///
    /// # Errors
    /// When weights are invalid or, in a balanced problem, have unequal sums, a setting is out of range, or
    /// the potentials overflow. Missing the tolerance is not an error: see [`CouplingReport::stop`].
    pub fn solve<'a>(&self, cost: &'a Cost<'a>, a: &[f64], b: &[f64]) -> Result<Coupling<'a>> {
        let clock = Instant::now();
        let (n, m) = cost.shape();
        let epsilon = self.check(cost)?;
        let (a, b, mass) = self.weights(a, b, (n, m))?;
        let stored = n.saturating_mul(m).saturating_mul(4) <= self.memory;
        let solve = || {
            let first = self.first_epsilon(cost, epsilon);
            let refined = cost.refined(epsilon, self.memory);
            let cost = refined.map_or(Cow::Borrowed(cost), Cow::Owned);
            let mut engine = ScalingEngine::new(cost, a, b, first, stored);
            if let Some(start) = &self.start {
                crate::same("start potentials", m, start.len())?;
                engine.psi = start.iter().map(|g| g / first).collect();
            }
            engine.start();
            let outcome = self.anneal(&mut engine, epsilon, clock)?;
            Ok(Coupling::new(engine, mass, outcome, self.marginals == Marginals::Balanced, clock))
        };
        // Inside the thread pool forking in each iteration is cheap, but small problems do not fork.
        if tasks(n * m) == 1 { solve() } else { rayon::scope(|_| solve()) }
    }

    /// Checks the settings and returns epsilon in units of the cost.
    fn check(&self, cost: &Cost<'_>) -> Result<f64> {
        let epsilon = match self.epsilon {
            Epsilon::Absolute(epsilon) => epsilon,
            Epsilon::OfMeanCost(share) => share * cost.mean(),
        };
        let setting = |what, expected, got| Err(Error::Setting { what, expected, got });
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return setting("epsilon", "a positive number (a share of a zero mean cost is zero)", epsilon);
        }
        if let Some(f) = self.annealing.filter(|f| !(*f > 0.0 && *f < 1.0)) {
            return setting("annealing factor", "a number between 0 and 1", f);
        }
        if self.tolerance.is_nan() || self.tolerance < 0.0 {
            return setting("tolerance", "a number >= 0", self.tolerance);
        }
        Ok(epsilon)
    }

    /// Checks the weights. Returns them as the iteration uses them, and the factor that scales its plan to
    /// the original mass.
    fn weights(&self, a: &[f64], b: &[f64], shape: (usize, usize)) -> Result<(Vec<f64>, Vec<f64>, f64)> {
        match self.marginals {
            Marginals::Balanced => crate::balanced(a, b, shape),
            Marginals::Unbalanced { source, target } => {
                if source.is_nan() || target.is_nan() || source <= 0.0 || target <= 0.0 {
                    let got = source.min(target);
                    return Err(Error::Setting { what: "penalty", expected: "a positive number", got });
                }
                crate::mass("source weights", a, shape.0)?;
                crate::mass("target weights", b, shape.1)?;
                Ok((a.to_vec(), b.to_vec(), 1.0))
            }
            Marginals::Partial { mass } => {
                let source_mass = crate::mass("source weights", a, shape.0)?;
                let most = source_mass.min(crate::mass("target weights", b, shape.1)?);
                if !(mass > 0.0 && mass <= most * (1.0 + 1e-9)) {
                    let expected = "a positive number, at most the smaller sum of weights";
                    return Err(Error::Setting { what: "mass", expected, got: mass });
                }
                Ok((a.to_vec(), b.to_vec(), 1.0))
            }
        }
    }

    /// Returns the epsilon at which annealing starts.
    fn first_epsilon(&self, cost: &Cost<'_>, epsilon: f64) -> f64 {
        if self.annealing.is_none() && self.start.is_some() {
            return epsilon;
        }
        let mean = cost.mean();
        let steep = self.annealing.is_some() || mean > 200.0 * epsilon;
        if steep { (mean / 20.0).max(epsilon) } else { epsilon }
    }

    /// Iterates at decreasing epsilons, then at the given one.
    fn anneal(
        &self,
        engine: &mut ScalingEngine<'_>,
        epsilon: f64,
        clock: Instant,
    ) -> Result<IterationOutcome> {
        let mut done = 0;
        while engine.epsilon > epsilon {
            let loose = self.iterate(engine, self.tolerance.max(0.02), 100, done, clock)?;
            done = loose.iterations;
            let next = engine.epsilon * self.annealing.unwrap_or(0.25);
            let stopped = matches!(loose.stop, StopReason::Cancelled | StopReason::Time);
            engine.rescale(if stopped || next < epsilon * 1.5 { epsilon } else { next });
            engine.build(false);
        }
        self.iterate(engine, self.tolerance, self.limits.iterations, done, clock)
    }

    /// Iterates at one epsilon until the tolerance, `most` iterations, or the limits are reached. `done`
    /// iterations were done before.
    fn iterate(
        &self,
        engine: &mut ScalingEngine<'_>,
        tolerance: f64,
        most: usize,
        done: usize,
        clock: Instant,
    ) -> Result<IterationOutcome> {
        let (mut source, mut target, total) = self.rules(engine);
        let mut newton = self.takes_newton_steps().then(NewtonSteps::default);
        let mut stall = StallDetector::default();
        let (mut failures, mut reads) = (0, 0);
        loop {
            reads += 1;
            let sweep = engine.sweep(&source);
            let (error, columns) = self.marginal_error(engine, &sweep, &target, total);
            if let Some(plain) = newton.as_mut().and_then(|newton| newton.evaluate(error)) {
                engine.v = plain;
                continue;
            }
            let end = self
                .limits
                .stop(done + reads, clock, error, tolerance)
                .or_else(|| stall.check(error, tolerance));
            let end = if reads >= most { end.or(Some(StopReason::Iterations)) } else { end };
            let columns = match (end, columns) {
                (Some(stop), Some(columns)) => {
                    return Ok(IterationOutcome { stop, error, iterations: done + reads, columns });
                }
                (_, columns) => columns,
            };
            let mut v = engine.v.clone();
            let updated = columns
                .filter(|columns| !out_of_range(target.update(&engine.b, columns, &engine.psi, &mut v).1));
            let Some(columns) = updated else {
                failures += 1;
                if failures > 1000 || end.is_some() {
                    let why = "the potentials keep overflowing: raise epsilon, or use exact transport";
                    return Err(Error::Breakdown { what: "the Sinkhorn iteration", why });
                }
                engine.recover(&source, &target);
                continue;
            };
            if let Some(newton) = &mut newton
                && newton.is_due(error)
            {
                let (faster, products) =
                    newton.step(engine, (&columns, v), (error, tolerance), [&source, &target]);
                reads += products;
                engine.v = faster;
                continue;
            }
            translation::step(engine, &columns, v, [&mut source, &mut target]);
            if let Marginals::Partial { mass } = self.marginals {
                // The multiplier of the total mass raises the upper bound of the source potentials.
                let shift = (mass / engine.moved(&columns)).ln();
                source = MarginalRule::at_most(source.cap + if shift.is_finite() { shift } else { 0.0 });
            }
        }
    }

    fn takes_newton_steps(&self) -> bool {
        self.accelerated && !matches!(self.marginals, Marginals::Partial { .. })
    }

    /// Returns the marginal error after a sweep, and its column sums unless a scaling or the error is out of
    /// range.
    fn marginal_error(
        &self,
        engine: &mut ScalingEngine<'_>,
        sweep: &SweepResult,
        target: &MarginalRule,
        total: Option<f64>,
    ) -> (f64, Option<Vec<f64>>) {
        if out_of_range(sweep.spread) {
            return (f64::INFINITY, None);
        }
        let columns = engine.column_sums().to_vec();
        let total = total.unwrap_or_else(|| engine.moved(&columns));
        let mut error = (sweep.error + target.residual(&engine.b, &columns, &engine.psi, &engine.v)) / total;
        if let Marginals::Partial { mass } = self.marginals {
            error += (engine.moved(&columns) / mass - 1.0).abs();
        }
        (error, error.is_finite().then_some(columns))
    }

    /// Returns the rules of both sides at the engine's epsilon, and the mass of the plan, to which errors are
    /// relative, where it is given.
    fn rules(&self, engine: &ScalingEngine<'_>) -> (MarginalRule, MarginalRule, Option<f64>) {
        match self.marginals {
            Marginals::Balanced => (MarginalRule::balanced(), MarginalRule::balanced(), Some(1.0)),
            Marginals::Unbalanced { source, target } => {
                let soft = |rho, offset| MarginalRule::soft(rho, engine.epsilon, offset);
                (soft(source, engine.translation), soft(target, -engine.translation), None)
            }
            Marginals::Partial { mass } => {
                // From zero, all of a plan with costs far above epsilon would underflow, and the multiplier
                // would have no mass to start from.
                let top = MarginalRule::at_most(engine.top_source_potential());
                (top, MarginalRule::at_most(0.0), Some(mass))
            }
        }
    }
}
