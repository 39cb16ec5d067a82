//! Many items through one model: prepared, batched and run by a small crew of equal workers.
//!
//! Each worker takes the most useful work there is: a batch that is ready, when a lane of the session is
//! free; else the next item to prepare; else it waits. So preparing and running overlap without a thread too
//! many, and nobody prepares further ahead than a bounded window. Items are cut into shards in item order, a
//! shard is planned by [`crate::batch::plan`], and finished batches are delivered in the order of the plan:
//! what is delivered, and in which order, does not depend on timing.

mod collect;
mod crew;
mod sink;

use std::fmt::Display;
use std::time::Instant;

use chiasm_graph::Tensor;

pub use collect::{Embedded, embed_all};
pub use sink::{OnBad, Report, Sink};

use crate::{ItemInput, Limits, Result, Session};
use crew::Crew;

/// How the work is cut and by how many it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmbedOptions {
    /// Workers; 0 takes every core. They include those that run the model on a session made with
    /// [`crate::SessionOptions::batches`].
    pub threads: usize,
    /// The limits of a batch; chosen for the session's device when none are given.
    pub limits: Option<Limits>,
}

/// Chosen by measurement on the CPU (`benches/embed.rs`): a few pictures or a thousand tokens already fill
/// the kernels, and more of them no longer fit its caches (2048 tokens cost a quarter more time per caption
/// than 1024).
const ON_CPU: Limits = Limits { rows: 64, steps: 1024, bytes: 4 << 20 };
/// A GPU wants larger batches, and has the memory.
const ON_CUDA: Limits = Limits { rows: 512, steps: 32768, bytes: 256 << 20 };

/// Runs items `0..items` through the named outputs of a session.
///
/// `prepare` turns one item into one tensor per input, without a batch axis; it is called from several
/// threads.
///
/// # Errors
/// [`crate::Error::Item`] for a bad item that was not to be skipped (always the first in item order), the
/// session's errors, [`crate::Error::Sink`] and [`crate::Error::Cancelled`].
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
