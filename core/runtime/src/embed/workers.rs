//! The worker pool of [`super::embed`].
//!
//! All workers run the same loop: choose an action from the shared [`PoolState`], do it outside the lock,
//! record the result.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chiasm_graph::Tensor;

use super::receiver::{BadItemPolicy, BatchReceiver, EmbedReport};
use super::request::EmbedRequest;
use crate::batch::{ItemSize, measure, plan, stack};
use crate::{BatchLimits, Error, Result, Session};

/// Ragged items that are sorted together: enough that the items of a batch are about equally long. On the CPU
/// no replica is idle meanwhile, since the workers that would run the model prepare items.
const SHARD_ITEMS: usize = 8192;
/// A shard ends early when its items hold this many bytes.
const SHARD_BYTES: usize = 64 << 20;
/// The most bytes of prepared items that wait for a batch, and the most shards of them.
const WAITING_BYTES: usize = 192 << 20;
const WAITING_SHARDS: usize = 2;

type Prepare<'a> = dyn Fn(usize) -> Result<Vec<Tensor>, String> + Sync + 'a;
type PreparedItem = Result<(Vec<Tensor>, ItemSize), String>;
type Outputs = Vec<(String, Tensor)>;

pub(super) struct WorkerPool<'a> {
    session: &'a Session,
    request: &'a EmbedRequest<'a>,
    limits: BatchLimits,
    ragged: bool,
    prepare: &'a Prepare<'a>,
    state: Mutex<PoolState<'a>>,
    changed: Condvar,
}

/// The queues and counters that the workers share.
struct PoolState<'a> {
    /// The next item to prepare.
    next: usize,
    /// The first item that is in no shard yet; `prepared[0]` is this item.
    front: usize,
    prepared: VecDeque<Option<PreparedItem>>,
    /// Bytes of the items in `prepared` and in `ready`.
    waiting_bytes: usize,
    ready: VecDeque<BatchJob>,
    /// Results planned so far.
    planned: usize,
    free_replicas: Vec<usize>,
    /// Results that are not delivered yet, by their number in the plan.
    finished: BTreeMap<usize, QueuedResult>,
    delivered: usize,
    /// The receiver; `None` while a worker delivers to it.
    receiver: Option<&'a mut dyn BatchReceiver>,
    failed: Option<Error>,
    /// A worker panicked: the others stop, and the panic resumes in the caller.
    panicked: bool,
    done: usize,
    steps: usize,
    useful_steps: usize,
    report: EmbedReport,
}

/// A batch that waits for a replica: the items by number, and their tensors.
struct BatchJob {
    number: usize,
    rows: Vec<usize>,
    items: Vec<Vec<Tensor>>,
    bytes: usize,
}

/// One call of the receiver. Of a shard the bad items come first, then the batches.
enum QueuedResult {
    Bad(usize, String),
    Batch(Vec<usize>, Outputs),
}

/// What a worker does next.
enum WorkerAction {
    Deliver,
    Run(BatchJob, usize),
    Prepare(usize),
    Wait,
    Stop,
}

impl<'a> WorkerPool<'a> {
    pub fn new(
        session: &'a Session,
        request: &'a EmbedRequest<'a>,
        limits: BatchLimits,
        prepare: &'a Prepare<'a>,
        receiver: &'a mut dyn BatchReceiver,
    ) -> Self {
        let limits = BatchLimits { rows: limits.rows.max(1), ..limits };
        let ragged = request.inputs.iter().any(|input| input.dims.contains(&None));
        let state = PoolState {
            next: 0,
            front: 0,
            prepared: VecDeque::new(),
            waiting_bytes: 0,
            ready: VecDeque::new(),
            planned: 0,
            free_replicas: (0..session.replicas()).rev().collect(),
            finished: BTreeMap::new(),
            delivered: 0,
            receiver: Some(receiver),
            failed: None,
            panicked: false,
            done: 0,
            steps: 0,
            useful_steps: 0,
            report: EmbedReport::default(),
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self { session, request, limits, ragged, prepare, state, changed }
    }

    /// Runs `threads` workers, the caller's thread among them, until every result is delivered.
    pub fn run(self, threads: usize) -> Result<EmbedReport> {
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.worker())).collect();
            self.worker();
            for helper in helpers {
                if let Err(panic) = helper.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        match state.failed {
            Some(error) => Err(error),
            None => {
                let padding = 1.0 - state.useful_steps as f64 / state.steps.max(1) as f64;
                Ok(EmbedReport { padding: if state.steps == 0 { 0.0 } else { padding }, ..state.report })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self) {
        let _guard = PanicGuard(self);
        let mut state = self.lock();
        loop {
            match self.choose(&mut state) {
                WorkerAction::Stop => break,
                WorkerAction::Wait => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                WorkerAction::Deliver => state = self.deliver(state),
                WorkerAction::Run(job, replica) => {
                    drop(state);
                    let (outputs, spent) = self.run_batch(&job, replica);
                    state = self.lock();
                    state.record_batch(job, replica, outputs, spent);
                    self.changed.notify_all();
                }
                WorkerAction::Prepare(item) => {
                    drop(state);
                    let prepared = (self.prepare)(item).and_then(|tensors| {
                        measure(&tensors, self.request.inputs).map(|size| (tensors, size))
                    });
                    state = self.lock();
                    self.record_item(&mut state, item, prepared);
                }
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn choose(&self, state: &mut PoolState<'a>) -> WorkerAction {
        if state.failed.is_some() || state.panicked {
            return WorkerAction::Stop;
        }
        if state.receiver.is_some() && state.finished.contains_key(&state.delivered) {
            return WorkerAction::Deliver;
        }
        if state.front == self.request.items && state.delivered == state.planned {
            return WorkerAction::Stop;
        }
        if !state.ready.is_empty()
            && let Some(replica) = state.free_replicas.pop()
            && let Some(job) = state.ready.pop_front()
        {
            return WorkerAction::Run(job, replica);
        }
        let ahead = state.next - state.front + state.ready.iter().map(|job| job.rows.len()).sum::<usize>();
        // With batches of a few large items, enough are prepared ahead to keep every replica busy.
        let window = WAITING_SHARDS * self.shard_items(state).max(4 * self.session.replicas());
        let room = state.waiting_bytes < WAITING_BYTES && ahead < window;
        if state.next < self.request.items && room {
            state.next += 1;
            state.prepared.push_back(None);
            return WorkerAction::Prepare(state.next - 1);
        }
        WorkerAction::Wait
    }

    /// Records a prepared item, and cuts the shards that are complete into batches.
    fn record_item(&self, state: &mut PoolState<'a>, item: usize, prepared: PreparedItem) {
        if let Ok((_, size)) = &prepared {
            state.waiting_bytes += size.bytes;
        }
        let at = item - state.front;
        state.prepared[at] = Some(prepared);
        let planned = state.planned;
        while let Some(count) = self.complete_shard(state) {
            self.cut_shard(state, count);
        }
        if state.planned > planned {
            self.changed.notify_all();
        }
    }

    /// Returns the items per shard. Without ragged axes there is nothing to sort: a shard is one batch, so
    /// the first batch can start at once.
    fn shard_items(&self, state: &PoolState<'a>) -> usize {
        match state.prepared.front() {
            _ if self.ragged => SHARD_ITEMS,
            Some(Some(Ok((_, size)))) => (self.limits.bytes / size.bytes.max(1)).clamp(1, self.limits.rows),
            _ => self.limits.rows,
        }
    }

    /// Returns the number of items of the next shard when all of them are prepared.
    fn complete_shard(&self, state: &PoolState<'a>) -> Option<usize> {
        let (most, mut bytes) = (self.shard_items(state), 0);
        for (before, item) in state.prepared.iter().enumerate() {
            bytes += item.as_ref()?.as_ref().map_or(0, |(_, size)| size.bytes);
            let count = before + 1;
            if bytes >= SHARD_BYTES || count == most || state.front + count == self.request.items {
                return Some(count);
            }
        }
        None
    }

    /// Turns the first `count` prepared items into batches and bad items.
    fn cut_shard(&self, state: &mut PoolState<'a>, count: usize) {
        let first = state.front;
        state.front += count;
        let shard: Vec<PreparedItem> = state.prepared.drain(..count).flatten().collect();
        let (mut rows, mut items, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (offset, item) in shard.into_iter().enumerate() {
            match item {
                Ok((tensors, size)) => {
                    rows.push(first + offset);
                    items.push(Some(tensors));
                    sizes.push(size);
                }
                Err(reason) => {
                    state.finished.insert(state.planned, QueuedResult::Bad(first + offset, reason));
                    state.planned += 1;
                }
            }
        }
        for batch in plan(&sizes, &self.limits) {
            let longest = batch.iter().map(|&i| sizes[i].steps).max().unwrap_or(0);
            state.steps += longest * batch.len();
            state.useful_steps += batch.iter().map(|&i| sizes[i].steps).sum::<usize>();
            state.ready.push_back(BatchJob {
                number: state.planned,
                rows: batch.iter().map(|&i| rows[i]).collect(),
                bytes: batch.iter().map(|&i| sizes[i].bytes).sum(),
                items: batch.iter().filter_map(|&i| items[i].take()).collect(),
            });
            state.planned += 1;
        }
    }

    fn run_batch(&self, job: &BatchJob, replica: usize) -> (Result<Outputs>, Duration) {
        let inputs = self.request.inputs;
        let mut stacked = Vec::with_capacity(inputs.len());
        for (position, input) in inputs.iter().enumerate() {
            let column: Vec<&Tensor> = job.items.iter().map(|item| &item[position]).collect();
            match stack(&column, input.pad.unwrap_or(0.0)) {
                Ok(tensor) => stacked.push(tensor),
                Err(error) => return (Err(error.into()), Duration::ZERO),
            }
        }
        let named: Vec<(&str, &Tensor)> =
            inputs.iter().map(|input| input.name.as_str()).zip(&stacked).collect();
        let start = Instant::now();
        let outputs = self.session.run_on_replica(replica, &named, self.request.outputs);
        let spent = start.elapsed();
        (outputs.and_then(|outputs| check_rows(outputs, job.rows.len(), self.session)), spent)
    }

    /// Delivers the results that are next in order, outside the lock.
    fn deliver<'b>(&'b self, mut state: MutexGuard<'b, PoolState<'a>>) -> MutexGuard<'b, PoolState<'a>> {
        let Some(receiver) = state.receiver.take() else { return state };
        while state.failed.is_none() {
            let number = state.delivered;
            let Some(result) = state.finished.remove(&number) else { break };
            let before = state.done;
            drop(state);
            let (items, delivered) = self.deliver_one(receiver, result, before);
            state = self.lock();
            state.delivered += 1;
            state.done += items;
            match delivered {
                Ok(Delivered::Batch) => {
                    state.report.embedded += items;
                    state.report.batches += 1;
                }
                Ok(Delivered::SkippedItem(item, reason)) => state.report.skipped.push((item, reason)),
                Err(error) => state.fail(error),
            }
        }
        state.receiver = Some(receiver);
        self.changed.notify_all();
        state
    }

    /// Calls the receiver with one result; returns the number of items in it.
    fn deliver_one(
        &self,
        receiver: &mut dyn BatchReceiver,
        result: QueuedResult,
        before: usize,
    ) -> (usize, Result<Delivered>) {
        let (items, delivered) = match result {
            QueuedResult::Bad(index, reason) => match receiver.bad_item(index, &reason) {
                BadItemPolicy::Skip => (1, Ok(Delivered::SkippedItem(index, reason))),
                BadItemPolicy::Abort => (1, Err(Error::Item { index, reason })),
            },
            QueuedResult::Batch(rows, outputs) => {
                let stored = receiver.batch(&rows, outputs).map_err(Error::Receiver);
                (rows.len(), stored.map(|()| Delivered::Batch))
            }
        };
        let (done, total) = (before + items, self.request.items);
        if delivered.is_ok() && !receiver.progress(done, total) {
            return (items, Err(Error::Cancelled { done, total }));
        }
        (items, delivered)
    }
}

/// A result that the receiver accepted.
enum Delivered {
    Batch,
    SkippedItem(usize, String),
}

/// Wakes the other workers when one panics, so that the panic reaches the caller instead of a deadlock.
struct PanicGuard<'c, 'a>(&'c WorkerPool<'a>);

impl Drop for PanicGuard<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().panicked = true;
            self.0.changed.notify_all();
        }
    }
}

/// Refuses outputs that do not have one row per item.
fn check_rows(outputs: Outputs, rows: usize, session: &Session) -> Result<Outputs> {
    match outputs.iter().find(|(_, tensor)| tensor.shape().first() != Some(&rows)) {
        None => Ok(outputs),
        Some((name, tensor)) => Err(Error::Run {
            model: session.name().to_owned(),
            reason: format!(
                "output \"{name}\": expected one row for each of {rows} items, got shape {:?}",
                tensor.shape()
            ),
        }),
    }
}

impl PoolState<'_> {
    fn record_batch(&mut self, job: BatchJob, replica: usize, outputs: Result<Outputs>, spent: Duration) {
        self.free_replicas.push(replica);
        self.waiting_bytes -= job.bytes;
        self.report.in_session += spent;
        match outputs {
            Ok(outputs) => {
                self.finished.insert(job.number, QueuedResult::Batch(job.rows, outputs));
            }
            Err(error) => self.fail(error),
        }
    }

    /// Keeps the first failure, which is the one that is returned.
    fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }
}
