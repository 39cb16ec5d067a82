//! Limits of an iterative solver, the progress it reports, and why it stopped.

use std::{ops::ControlFlow, sync::Arc, time::Duration, time::Instant};

/// Why a solver stopped. Anything but [`StopReason::Converged`] means that the result is the last iterate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The tolerance was met.
    Converged,
    /// The iteration limit was reached.
    Iterations,
    /// The time limit was reached.
    Time,
    /// The watcher asked to stop.
    Cancelled,
    /// The error stopped falling: the tolerance is below what the precision of the solver can reach on this
    /// problem.
    Stalled,
    /// The objective no longer decreases, although the plan still changes by more than the tolerance.
    Flat,
}

/// What a watcher receives after each iteration.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SolverProgress {
    /// Completed iterations.
    pub iteration: usize,
    /// The current error; for Sinkhorn the L1 marginal error divided by the mass.
    pub error: f64,
    /// Seconds since the start.
    pub seconds: f64,
}

type Watcher = dyn Fn(&SolverProgress) -> ControlFlow<()> + Send + Sync;

/// An iteration limit, a time limit and an optional watcher that can cancel.
///
/// ```
/// use chiasm_transport::SolverLimits;
/// use std::{ops::ControlFlow, time::Duration};
/// let limits = SolverLimits::new(100).time(Duration::from_secs(5)).watch(|progress| {
///     if progress.error < 1e-3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
/// });
/// assert_eq!(limits.iterations, 100);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SolverLimits {
    /// Maximum number of iterations.
    pub iterations: usize,
    /// Maximum wall time, checked after each iteration.
    pub time: Duration,
    watcher: Option<Arc<Watcher>>,
}

impl SolverLimits {
    /// Allows at most `iterations` iterations and one hour, without a watcher.
    pub fn new(iterations: usize) -> Self {
        Self { iterations, time: Duration::from_secs(3600), watcher: None }
    }

    /// Sets the maximum wall time.
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Calls `watcher` after each iteration; `Break` cancels the solve.
    pub fn watch(
        mut self,
        watcher: impl Fn(&SolverProgress) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Returns why to stop after `iteration` iterations with this error, if there is a reason.
    pub(crate) fn stop(
        &self,
        iteration: usize,
        start: Instant,
        error: f64,
        tolerance: f64,
    ) -> Option<StopReason> {
        let elapsed = start.elapsed();
        let progress = SolverProgress { iteration, error, seconds: elapsed.as_secs_f64() };
        let cancelled = self.watcher.as_ref().is_some_and(|watch| watch(&progress).is_break());
        if error <= tolerance {
            Some(StopReason::Converged)
        } else if cancelled {
            Some(StopReason::Cancelled)
        } else if iteration >= self.iterations {
            Some(StopReason::Iterations)
        } else if elapsed >= self.time {
            Some(StopReason::Time)
        } else {
            None
        }
    }
}

impl std::fmt::Debug for SolverLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SolverLimits")
            .field("iterations", &self.iterations)
            .field("time", &self.time)
            .field("watcher", &self.watcher.is_some())
            .finish()
    }
}
