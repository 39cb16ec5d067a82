//! Entropic transport: `min <P, C> + epsilon KL(P | a b^T)` by Sinkhorn's iteration, log-stable at the speed of memory.
//!
//! Single precision for the kernel, double for potentials, sums over rows and everything reported. The kernel is
//! stored when it fits the memory given, else made anew in each sweep. Potentials follow the field's convention
//! `P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)`. The error reported is the L1 distance of both marginals from the
//! weights, divided by the mass; about 1e-6 is the floor of single precision. Costs above some thousand epsilon lose
//! digits in the exponent: three are left at `C / epsilon = 1e4`.

mod coarse;
mod coupling;
mod engine;
mod newton;
mod rule;

pub use coupling::{Coupling, Report};

use std::time::{Duration, Instant};

use crate::{Cost, Error, Limits, Progress, Result, Stop};
use coupling::Outcome;
use engine::{Engine, out_of_range};
use newton::Newton;
use rule::Rule;

/// What the plan's marginals must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Marginals {
    /// `P 1 = a`, `P^T 1 = b`; the weights need equal sums.
    Balanced,
    /// Penalties `source KL(P 1 | a) + target KL(P^T 1 | b)`, in units of the cost; infinity asks for equality.
    Unbalanced {
        /// Weight of the source's penalty.
        source: f64,
        /// Weight of the target's penalty.
        target: f64,
    },
    /// `P 1 <= a`, `P^T 1 <= b`, and this much mass in all.
    Partial {
        /// The mass to move.
        mass: f64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Epsilon {
    Absolute(f64),
    OfMeanCost(f64),
}

/// Sinkhorn's iteration with its settings.
#[derive(Debug, Clone)]
pub struct Sinkhorn {
    epsilon: Epsilon,
    tolerance: f64,
    limits: Limits,
    accelerated: bool,
    marginals: Marginals,
    memory: usize,
    annealing: Option<f64>,
    start: Option<Vec<f64>>,
}

impl Sinkhorn {
    /// Regularisation `epsilon` in units of the cost; tolerance 1e-6, 10,000 iterations, kernel up to 2 GiB.
    pub fn new(epsilon: f64) -> Self {
        Self {
            epsilon: Epsilon::Absolute(epsilon),
            tolerance: 1e-6,
            limits: Limits::new(10_000),
            accelerated: true,
            marginals: Marginals::Balanced,
            memory: 2 << 30,
            annealing: None,
            start: None,
        }
    }

    /// Regularisation as a share of the mean cost.
    pub fn of_mean_cost(share: f64) -> Self {
        Self { epsilon: Epsilon::OfMeanCost(share), ..Self::new(1.0) }
    }

    /// The same settings with another regularisation, in units of the cost.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = Epsilon::Absolute(epsilon);
        self
    }

    /// Stops at this L1 marginal error, relative to the mass; 0 runs all iterations.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The most iterations.
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.limits.iterations = iterations;
        self
    }

    /// The longest time.
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// Calls `watcher` after each iteration; `Break` cancels.
    pub fn watch(
        mut self,
        watcher: impl Fn(&Progress) -> std::ops::ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.limits = self.limits.watch(watcher);
        self
    }

    /// Whether Newton steps may replace plain iterations once these are slow (balanced problems; on by default).
    pub fn accelerated(mut self, accelerated: bool) -> Self {
        self.accelerated = accelerated;
        self
    }

    /// What the marginals must be.
    pub fn marginals(mut self, marginals: Marginals) -> Self {
        self.marginals = marginals;
        self
    }

    /// Bytes that the kernel may take; above it the costs are made anew in each iteration.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Starts at a larger epsilon and multiplies it by `factor` in (0, 1) until it is reached (epsilon scaling). Without
    /// this it is done where the mean cost is above 200 epsilon.
    pub fn annealing(mut self, factor: f64) -> Self {
        self.annealing = Some(factor);
        self
    }

    /// Starts at these target potentials `g` (units of the cost), as a [`Coupling`] gives them.
    pub fn start(mut self, target_potential: &[f64]) -> Self {
        self.start = Some(target_potential.to_vec());
        self
    }

    /// Solves between weights `a[n]` and `b[m]`.
    ///
    /// # Errors
    /// On weights that are no weights, unequal sums in the balanced problem, settings out of range, and numbers that
    /// leave double precision. Not reaching the tolerance is no error: see [`Report::stop`].
    pub fn solve<'a>(&self, cost: &'a Cost<'a>, a: &[f64], b: &[f64]) -> Result<Coupling<'a>> {
        let clock = Instant::now();
        let (n, m) = cost.shape();
        let epsilon = self.check(cost)?;
        let (a, b, mass) = self.weights(a, b, (n, m))?;
        let stored = n.saturating_mul(m).saturating_mul(4) <= self.memory;
        // Inside the pool, so that each iteration's fork is a handful of nanoseconds away.
        rayon::scope(|_| {
            let first = self.first_epsilon(cost, epsilon);
            let mut engine = Engine::new(cost, a, b, first, stored);
            if let Some(start) = &self.start {
                crate::same("start potentials", m, start.len())?;
                engine.psi = start.iter().map(|g| g / first).collect();
            }
            engine.start();
            let outcome = self.anneal(&mut engine, epsilon, clock)?;
            Ok(Coupling::new(engine, mass, outcome, self.marginals == Marginals::Balanced, clock))
        })
    }

    fn check(&self, cost: &Cost<'_>) -> Result<f64> {
        let epsilon = match self.epsilon {
            Epsilon::Absolute(epsilon) => epsilon,
            Epsilon::OfMeanCost(share) => share * cost.mean(),
        };
        let setting = |what, expected, got| Err(Error::Setting { what, expected, got });
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return setting("epsilon", "a positive number (a share of a zero mean cost is none)", epsilon);
        }
        if let Some(f) = self.annealing.filter(|f| !(*f > 0.0 && *f < 1.0)) {
            return setting("annealing factor", "a number between 0 and 1", f);
        }
        if self.tolerance.is_nan() || self.tolerance < 0.0 {
            return setting("tolerance", "a number >= 0", self.tolerance);
        }
        Ok(epsilon)
    }

    /// Weights as the iteration wants them, and the factor from its plan to the user's.
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
                let most = crate::mass("source weights", a, shape.0)?.min(crate::mass(
                    "target weights",
                    b,
                    shape.1,
                )?);
                if !(mass > 0.0 && mass <= most * (1.0 + 1e-9)) {
                    let expected = "a positive number, at most the smaller sum of weights";
                    return Err(Error::Setting { what: "mass", expected, got: mass });
                }
                Ok((a.to_vec(), b.to_vec(), 1.0))
            }
        }
    }

    fn first_epsilon(&self, cost: &Cost<'_>, epsilon: f64) -> f64 {
        if self.annealing.is_none() && self.start.is_some() {
            return epsilon;
        }
        let mean = cost.mean();
        let steep = self.annealing.is_some() || mean > 200.0 * epsilon;
        if steep { (mean / 20.0).max(epsilon) } else { epsilon }
    }

    fn anneal(&self, engine: &mut Engine<'_>, epsilon: f64, clock: Instant) -> Result<Outcome> {
        let mut done = 0;
        while engine.epsilon > epsilon {
            let loose = self.iterate(engine, self.tolerance.max(0.02), 100, done, clock)?;
            done = loose.iterations;
            let next = engine.epsilon * self.annealing.unwrap_or(0.25);
            let stopped = matches!(loose.stop, Stop::Cancelled | Stop::Time);
            engine.rescale(if stopped || next < epsilon * 1.5 { epsilon } else { next });
            engine.build(false);
        }
        self.iterate(engine, self.tolerance, self.limits.iterations, done, clock)
    }

    /// Iterates at one epsilon until the tolerance, a limit of `most` iterations, or the user's limits.
    fn iterate(
        &self,
        engine: &mut Engine<'_>,
        tolerance: f64,
        most: usize,
        done: usize,
        clock: Instant,
    ) -> Result<Outcome> {
        let (mut source, target, total) = self.rules(engine);
        let mut newton = (self.accelerated && self.marginals == Marginals::Balanced).then(Newton::default);
        let mut stall = Stall::default();
        let mut failures = 0;
        let mut reads = 0;
        loop {
            reads += 1;
            let swept = engine.sweep(&source);
            let mut in_range = !out_of_range(swept.spread);
            let columns = if in_range { engine.column_sums().to_vec() } else { Vec::new() };
            let mut error = f64::INFINITY;
            if in_range {
                error = (swept.error + target.residual(&engine.b, &columns, &engine.psi, &engine.v)) / total;
                if let Marginals::Partial { mass } = self.marginals {
                    error += (engine.moved(&columns) / mass - 1.0).abs();
                }
                in_range = error.is_finite();
            }
            if let Some(plain) = newton.as_mut().and_then(|newton| newton.judge(error)) {
                engine.v = plain;
                continue;
            }
            let end = self
                .limits
                .stop(done + reads, clock, error, tolerance)
                .or_else(|| stall.check(error, tolerance));
            let end = if reads >= most { end.or(Some(Stop::Iterations)) } else { end };
            if let Some(stop) = end
                && in_range
            {
                return Ok(Outcome { stop, error, iterations: done + reads, columns });
            }
            let mut v = engine.v.clone();
            in_range = in_range && !out_of_range(target.update(&engine.b, &columns, &engine.psi, &mut v).1);
            if !in_range {
                failures += 1;
                if failures > 1000 || end.is_some() {
                    let why = "the potentials keep leaving their range: raise epsilon, or solve it exactly";
                    return Err(Error::Breakdown { what: "Sinkhorn's iteration", why });
                }
                engine.recover(&source, &target);
                continue;
            }
            if let Some(newton) = &mut newton
                && newton.wanted(error)
            {
                let (faster, products) = newton.step(engine, &columns, v, error, tolerance);
                reads += products;
                v = faster;
            }
            engine.v = v;
            if let Marginals::Partial { mass } = self.marginals {
                // The multiplier of the total mass: with it the bound on the source's potentials moves.
                let lift = (mass / engine.moved(&columns)).ln();
                source = Rule::at_most(source.cap + if lift.is_finite() { lift } else { 0.0 });
            }
        }
    }

    /// Both sides' rules at the engine's epsilon, and the mass that errors are relative to.
    fn rules(&self, engine: &Engine<'_>) -> (Rule, Rule, f64) {
        match self.marginals {
            Marginals::Balanced => (Rule::balanced(), Rule::balanced(), 1.0),
            Marginals::Unbalanced { source, target } => (
                Rule::soft(source, engine.epsilon),
                Rule::soft(target, engine.epsilon),
                engine.a.iter().sum::<f64>().max(engine.b.iter().sum()),
            ),
            Marginals::Partial { mass } => (Rule::at_most(0.0), Rule::at_most(0.0), mass),
        }
    }
}

/// Sees that an error has stopped falling near the floor of single precision.
#[derive(Default)]
struct Stall {
    best: f64,
    since: usize,
}

impl Stall {
    fn check(&mut self, error: f64, tolerance: f64) -> Option<Stop> {
        if self.best == 0.0 || error < 0.95 * self.best {
            self.best = error;
            self.since = 0;
        }
        self.since += 1;
        (tolerance > 0.0 && self.best < 1e-5 && self.since > 100).then_some(Stop::Stalled)
    }
}
