//! The [`BatchReceiver`] that takes the results of [`super::embed`], and the [`EmbedReport`] about them.

use std::time::Duration;

use chiasm_graph::Tensor;

/// What to do with an item that cannot be prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadItemPolicy {
    /// Leave it out; the report names it.
    Skip,
    /// Stop with an error that names it.
    Abort,
}

/// Receives the results. Called by one worker at a time, with the batches in the order of the plan.
pub trait BatchReceiver: Send {
    /// Takes one batch: `rows[i]` is the item whose results are in row `i` of every output.
    ///
    /// # Errors
    /// One sentence; it stops the run with [`crate::Error::Receiver`].
    fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String>;

    /// Decides about a bad item; called in item order. The default is to abort.
    fn bad_item(&mut self, _item: usize, _reason: &str) -> BadItemPolicy {
        BadItemPolicy::Abort
    }

    /// Called with the number of items that are done; `false` stops the run with [`crate::Error::Cancelled`].
    fn progress(&mut self, _done: usize, _total: usize) -> bool {
        true
    }
}

/// What [`super::embed`] did, and how long it took.
#[derive(Debug, Clone, Default)]
pub struct EmbedReport {
    /// Items that went through the model.
    pub embedded: usize,
    /// Items left out, with the reason.
    pub skipped: Vec<(usize, String)>,
    /// Batches run.
    pub batches: usize,
    /// Ragged steps that were padding, as a fraction of all steps run.
    pub padding: f64,
    /// From the first item to the last result.
    pub wall: Duration,
    /// Time inside the model, summed over the replicas.
    pub in_session: Duration,
    /// Replicas of the model that could run at once.
    pub replicas: usize,
}

impl EmbedReport {
    /// Returns the fraction of the wall time that a replica spent inside the model, averaged over the
    /// replicas.
    pub fn session_share(&self) -> f64 {
        self.in_session.as_secs_f64()
            / (self.wall.as_secs_f64() * self.replicas.max(1) as f64).max(f64::MIN_POSITIVE)
    }
}
