//! When an iteration ends: its tolerance, its limits, its user's wish.

use std::{ops::ControlFlow, sync::Arc, time::Duration, time::Instant};

/// Why a solver stopped; everything but [`Stop::Converged`] is a warning that the result is what was reached so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The tolerance was met.
    Converged,
    /// The iteration limit came first.
    Iterations,
    /// The time limit came first.
    Time,
    /// The watcher asked to stop.
    Cancelled,
    /// The error no longer falls: the tolerance lies below what single precision can reach here.
    Stalled,
}

/// What a watcher sees after each iteration.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Iterations done.
    pub iteration: usize,
    /// The solver's error now (for Sinkhorn the L1 marginal error, relative to the mass).
    pub error: f64,
    /// Seconds since the start.
    pub seconds: f64,
}

type Watcher = dyn Fn(&Progress) -> ControlFlow<()> + Send + Sync;

/// An iteration limit, a time limit and a watcher that may cancel.
#[derive(Clone)]
pub struct Limits {
    /// The most iterations.
    pub iterations: usize,
    /// The longest time; checked after each iteration.
    pub time: Duration,
    watcher: Option<Arc<Watcher>>,
}

impl Limits {
    /// So many iterations, an hour, nobody watching.
    pub fn new(iterations: usize) -> Self {
        Self { iterations, time: Duration::from_secs(3600), watcher: None }
    }

    /// The longest time.
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Calls `watcher` after each iteration; `Break` cancels.
    pub fn watch(mut self, watcher: impl Fn(&Progress) -> ControlFlow<()> + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Whether to stop after `iteration` iterations, started at `start`, with this error.
    pub(crate) fn stop(&self, iteration: usize, start: Instant, error: f64, tolerance: f64) -> Option<Stop> {
        let elapsed = start.elapsed();
        let progress = Progress { iteration, error, seconds: elapsed.as_secs_f64() };
        let cancelled = self.watcher.as_ref().is_some_and(|watch| watch(&progress).is_break());
        if error <= tolerance {
            Some(Stop::Converged)
        } else if cancelled {
            Some(Stop::Cancelled)
        } else if iteration >= self.iterations {
            Some(Stop::Iterations)
        } else if elapsed >= self.time {
            Some(Stop::Time)
        } else {
            None
        }
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Limits {{ iterations: {}, time: {:?} }}", self.iterations, self.time)
    }
}
