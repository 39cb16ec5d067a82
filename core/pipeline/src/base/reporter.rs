//! What a long verb tells while it works: stages, progress, remarks. The CLI draws it; tests listen to it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hears what is going on; every method may be called from any thread.
pub trait Reporter: Send + Sync {
    /// A stage of `total` steps begins (0: not known).
    fn begin(&self, stage: &str, total: u64);
    /// `done` steps of the stage are done.
    fn advance(&self, done: u64);
    /// What the stage has found so far, such as its losses.
    fn status(&self, _: &str) {}
    /// The stage is over.
    fn end(&self);
    /// Something the user should read, now.
    fn note(&self, message: &str);
}

/// Tells nobody.
#[derive(Debug, Default)]
pub struct Quiet;

impl Reporter for Quiet {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, _: &str) {}
}

/// A running count that tells a reporter of each step.
pub struct Steps<'a> {
    reporter: &'a dyn Reporter,
    done: AtomicU64,
}

impl<'a> Steps<'a> {
    /// Begins a stage.
    pub fn begin(reporter: &'a dyn Reporter, stage: &str, total: usize) -> Self {
        reporter.begin(stage, total as u64);
        Self { reporter, done: AtomicU64::new(0) }
    }

    /// `count` more are done.
    pub fn add(&self, count: usize) {
        let done = self.done.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        self.reporter.advance(done);
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        self.reporter.end();
    }
}
