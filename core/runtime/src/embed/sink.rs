//! What comes out of the work: batches for a [`Sink`], and a [`Report`].

use std::time::Duration;

use chiasm_graph::Tensor;

/// What to do with an item that cannot be prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBad {
    /// Leave it out; the report names it.
    Skip,
    /// Stop with an error that names it.
    Abort,
}

/// Takes the results. Called by one worker at a time, batches in the order of the plan.
pub trait Sink: Send {
    /// Takes one batch: `rows[i]` is the item whose results are in row `i` of every output.
    ///
    /// # Errors
    /// One sentence; it ends the work.
    fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String>;

    /// Decides about a bad item; called in item order. Aborts unless said otherwise.
    fn bad_item(&mut self, _item: usize, _reason: &str) -> OnBad {
        OnBad::Abort
    }

    /// Told how many items are done; `false` stops the work.
    fn progress(&mut self, _done: usize, _total: usize) -> bool {
        true
    }
}

/// What was done, and where the time went.
#[derive(Debug, Clone, Default)]
pub struct Report {
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
    /// Time inside the model, summed over the lanes.
    pub in_session: Duration,
    /// Lanes that could run at once.
    pub lanes: usize,
}

impl Report {
    /// The fraction of the wall time during which a lane was inside the model, on average over the lanes.
    pub fn session_share(&self) -> f64 {
        self.in_session.as_secs_f64()
            / (self.wall.as_secs_f64() * self.lanes.max(1) as f64).max(f64::MIN_POSITIVE)
    }
}
