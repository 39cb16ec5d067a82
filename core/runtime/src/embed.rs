//! Many items through one model: prepared, batched and run by a small crew of equal workers.
//!
//! Each worker takes the most useful work there is: a batch that is ready, when a lane of the session is free; else the
//! next item to prepare; else it waits. So preparing and running overlap without a thread too many, and nobody prepares
//! further ahead than a bounded window. Items are cut into shards in item order, a shard is planned by
//! [`crate::batch::plan`], and finished batches are delivered in the order of the plan: what is delivered, and in which
//! order, does not depend on timing.

mod collect;
mod crew;

use std::fmt::Display;
use std::time::{Duration, Instant};

use chiasm_graph::Tensor;

pub use collect::{Embedded, embed_all};

use crate::{ItemInput, Limits, Result, Session};
use crew::Crew;

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

/// How the work is cut and by how many it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmbedOptions {
    /// Workers; 0 takes every core. They include those that run the model on a session made with
    /// [`crate::SessionOptions::batches`].
    pub threads: usize,
    /// The limits of a batch; chosen for the session's device when none are given.
    pub limits: Option<Limits>,
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

/// Chosen by measurement on the CPU (`benches/embed.rs`): a few pictures or a thousand tokens already fill the kernels,
/// and more of them no longer fit its caches (2048 tokens cost a quarter more time per caption than 1024).
const ON_CPU: Limits = Limits { rows: 64, steps: 1024, bytes: 4 << 20 };
/// A GPU wants larger batches, and has the memory.
const ON_CUDA: Limits = Limits { rows: 512, steps: 32768, bytes: 256 << 20 };

/// Runs items `0..items` through the named outputs of a session.
///
/// `prepare` turns one item into one tensor per input, without a batch axis; it is called from several threads.
///
/// # Errors
/// [`crate::Error::Item`] for a bad item that was not to be skipped (always the first in item order), the session's
/// errors, [`crate::Error::Sink`] and [`crate::Error::Cancelled`].
pub fn embed<P, E>(
    session: &Session,
    items: usize,
    inputs: &[ItemInput],
    outputs: &[&str],
    options: &EmbedOptions,
    prepare: P,
    sink: &mut dyn Sink,
) -> Result<Report>
where
    P: Fn(usize) -> Result<Vec<Tensor>, E> + Sync,
    E: Display,
{
    for name in outputs {
        session.output(name)?;
    }
    let limits = options.limits.unwrap_or(if session.device_used() == "cpu" { ON_CPU } else { ON_CUDA });
    let start = Instant::now();
    let prepare = |item| prepare(item).map_err(|e| e.to_string());
    let crew = Crew::new(session, items, inputs, outputs, limits, &prepare, sink);
    let mut report = crew.work(crate::threads(options.threads))?;
    report.wall = start.elapsed();
    report.lanes = session.lanes();
    Ok(report)
}
