//! Progress reports of long operations: stages, steps and notes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Receives progress reports. Every method may be called from any thread.
pub trait Reporter: Send + Sync {
    /// A stage of `total` steps begins; 0 means that the number is unknown.
    fn begin(&self, stage: &str, total: u64);
    /// `done` steps of the stage are done.
    fn advance(&self, done: u64);
    /// The status text of the stage has changed, for example to the current losses.
    fn status(&self, _: &str) {}
    /// The stage has ended.
    fn end(&self);
    /// A message for the user, to be shown immediately.
    fn note(&self, message: &str);
    /// Returns whether the user asked to stop. Long operations then end at their next step.
    fn stop_requested(&self) -> bool {
        false
    }
}

/// A reporter that ignores all reports.
#[derive(Debug, Default)]
pub struct SilentReporter;

impl Reporter for SilentReporter {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, _: &str) {}
}

/// Counts the steps of one stage and reports them. The stage ends when it is dropped.
pub struct StageProgress<'a> {
    reporter: &'a dyn Reporter,
    done: AtomicU64,
}

impl<'a> StageProgress<'a> {
    /// Begins a stage of `total` steps.
    pub fn begin(reporter: &'a dyn Reporter, stage: &str, total: usize) -> Self {
        reporter.begin(stage, total as u64);
        Self { reporter, done: AtomicU64::new(0) }
    }

    /// Reports that `count` more steps are done. Returns `false` if the user asked to stop.
    pub fn add(&self, count: usize) -> bool {
        let done = self.done.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        self.reporter.advance(done);
        !self.reporter.stop_requested()
    }
}

impl Drop for StageProgress<'_> {
    fn drop(&mut self) {
        self.reporter.end();
    }
}
