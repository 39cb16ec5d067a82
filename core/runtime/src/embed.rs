//! Many items through one model: prepared, batched and run by a pool of equal workers.
//!
//! A worker that is free runs a batch when one is ready and a replica of the session is free; otherwise it
//! prepares the next item; otherwise it waits. So preparation and inference overlap without extra threads,
//! and items are prepared at most a bounded window ahead. Items are cut into shards in item order, a shard is
//! divided by [`crate::batch::plan`], and finished batches are delivered in the order of the plan: what is
//! delivered, and in which order, does not depend on timing.

mod collect;
mod receiver;
mod request;
mod workers;

use std::fmt::Display;
use std::time::Instant;

use chiasm_graph::Tensor;

pub use collect::{EmbeddedItems, embed_all};
pub use receiver::{BadItemPolicy, BatchReceiver, EmbedReport};
pub use request::{EmbedOptions, EmbedRequest};

use crate::{BatchLimits, Result, Session};
use workers::WorkerPool;

/// Measured on the CPU (`benches/embed.rs`): a few pictures or a thousand tokens already fill the kernels,
/// and more of them no longer fit its caches (2048 tokens cost a quarter more time per caption than 1024).
const CPU_LIMITS: BatchLimits = BatchLimits { rows: 64, steps: 1024, bytes: 4 << 20 };
/// A GPU needs larger batches, and has the memory.
const CUDA_LIMITS: BatchLimits = BatchLimits { rows: 512, steps: 32768, bytes: 256 << 20 };

/// Runs items through the named outputs of a session.
///
/// `prepare` turns one item into one tensor per input, without a batch axis; it is called from several
/// threads. `receiver` takes the batches in the order of the plan.
///
/// # Errors
/// [`crate::Error::Item`] for a bad item that was not to be skipped (always the first in item order), the
/// session's errors, [`crate::Error::Receiver`] and [`crate::Error::Cancelled`].
///
/// # Examples
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let session: chiasm_runtime::Session = unimplemented!();
/// use chiasm_graph::{DType, Tensor};
/// use chiasm_runtime::{BatchReceiver, EmbedOptions, EmbedRequest, ItemInput, embed};
///
/// struct Print;
/// impl BatchReceiver for Print {
///     fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String> {
///         println!("items {rows:?}: {:?}", outputs[0].1.shape());
///         Ok(())
///     }
/// }
/// let inputs = [ItemInput { name: "x".into(), dtype: DType::F32, dims: vec![Some(3)], pad: None }];
/// let options = EmbedOptions::default();
/// let request = EmbedRequest { items: 100, inputs: &inputs, outputs: &["pooled"], options };
/// let prepare = |item: usize| Tensor::f32(&[3], vec![item as f32; 3]).map(|tensor| vec![tensor]);
/// let report = embed(&session, &request, prepare, &mut Print)?;
/// println!("{} items in {:?}", report.embedded, report.wall);
/// # Ok(()) }
/// ```
pub fn embed<P, E>(
    session: &Session,
    request: &EmbedRequest<'_>,
    prepare: P,
    receiver: &mut dyn BatchReceiver,
) -> Result<EmbedReport>
where
    P: Fn(usize) -> Result<Vec<Tensor>, E> + Sync,
    E: Display,
{
    for name in request.outputs {
        session.output(name)?;
    }
    let default = if session.device_used() == "cpu" { CPU_LIMITS } else { CUDA_LIMITS };
    let limits = request.options.limits.unwrap_or(default);
    let start = Instant::now();
    let prepare = |item| prepare(item).map_err(|e| e.to_string());
    let pool = WorkerPool::new(session, request, limits, &prepare, receiver);
    let mut report = pool.run(crate::threads(request.options.threads))?;
    report.wall = start.elapsed();
    report.replicas = session.replicas();
    Ok(report)
}
